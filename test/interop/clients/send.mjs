// Sends as a customer's program would; what is said on standard output is
// compared by the test. Usage: node send.mjs <what> <JSON settings>
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const [, , what, text] = process.argv;
const s = JSON.parse(text);

const ways = {
  async nodemailer() {
    const nodemailer = require("nodemailer");
    const transport = nodemailer.createTransport({
      host: s.host, port: s.port, secure: s.secure, requireTLS: !s.secure,
      auth: { user: s.user, pass: s.pass },
      tls: { rejectUnauthorized: false },
    });
    const info = await transport.sendMail({
      from: s.from, to: s.to, subject: s.subject,
      text: "Hello from nodemailer, with an umlaut: ü\n.\n..leading dots\n", html: "<p>Hello from <b>nodemailer</b>, ü</p>",
      attachments: [{ filename: "receipt.txt", content: "one receipt" }],
      headers: { "X-PM-Tag": "nodemailer", "X-PM-Metadata-order": "7" },
    });
    return { response: info.response, accepted: info.accepted };
  },
  async postmark() {
    const postmark = require("postmark");
    const client = new postmark.ServerClient(s.token, { requestHost: s.host, useHttps: false });
    const one = await client.sendEmail({
      From: s.from, To: s.to, Subject: s.subject, TextBody: "Hello from the official client", HtmlBody: "<p>Hello</p>",
      Tag: "js", Metadata: { order: "8" }, MessageStream: "outbound",
      Attachments: [{ Name: "a.txt", Content: Buffer.from("hi").toString("base64"), ContentType: "text/plain", ContentID: null }],
    });
    const batch = await client.sendEmailBatch([
      { From: s.from, To: s.batchTo, Subject: s.subject + " batch", TextBody: "one" },
      { From: s.from, To: "nobody", Subject: "bad", TextBody: "two" },
    ]);
    const errors = {};
    const failure = async (name, promise) => {
      try { await promise; errors[name] = null; } catch (e) { errors[name] = { class: e.name, code: e.code, status: e.statusCode, message: e.message }; }
    };
    await failure("sender", client.sendEmail({ From: "x@elsewhere.test", To: s.to, Subject: "x", TextBody: "x" }));
    await failure("body", client.sendEmail({ From: s.from, To: s.to, Subject: "x" }));
    await failure("token", new postmark.ServerClient("0b5c9f62-3a6f-4a2c-9a0e-6f5a3a1c7d10", { requestHost: s.host, useHttps: false }).getServer());
    const server = await client.getServer();
    const streams = await client.getMessageStreams();
    // A just-sent message may be unknown for a moment.
    let details;
    for (let n = 0; n < 100; n++) {
      details = await client.getOutboundMessageDetails(one.MessageID);
      if (details.MessageEvents.length > 0) break;
      await new Promise((r) => setTimeout(r, 100));
    }
    const list = await client.getOutboundMessages({ count: 10, offset: 0, tag: "js" });
    const dump = await client.getOutboundMessageDump(one.MessageID);
    return { one, batch, errors, server, streams, details, list, dump: dump.Body.includes(s.subject) };
  },
  async templates() {
    const postmark = require("postmark");
    const options = { requestHost: s.host, useHttps: false };
    const client = new postmark.ServerClient(s.token, options);
    const account = new postmark.AccountClient(s.accountToken, options);
    const errors = {};
    const failure = async (name, promise) => {
      try { await promise; errors[name] = null; } catch (e) { errors[name] = { class: e.name, code: e.code, status: e.statusCode, message: e.message }; }
    };
    const layout = await client.createTemplate({
      Name: "Layout", TemplateType: "Layout", Alias: "wrap",
      HtmlBody: "<style>b { color: red }</style><p>{{{ @content }}}</p>", TextBody: "-- {{{ @content }}} --",
    });
    const made = await client.createTemplate({ Name: "Receipt", Subject: "{{subject}}", HtmlBody: "<b>{{name}}</b>", TextBody: "{{name}}" });
    const edited = await client.editTemplate(made.TemplateId, { Name: "Bill", Alias: "bill", LayoutTemplate: "wrap", TextBody: "Dear {{name}}" });
    const read = await client.getTemplate("bill");
    const all = await client.getTemplates();
    const layouts = await client.getTemplates({ templateType: "Layout", count: 10, offset: 0 });
    const valid = await client.validateTemplate({
      Subject: "{{s}}", HtmlBody: "<b>{{h}}</b>", TextBody: "{{#each xs}}{{.}}{{/each}}", LayoutTemplate: "wrap", TestRenderModel: { h: "H" },
    });
    const invalid = await client.validateTemplate({ TextBody: "{{#each}}{{/each}}" });
    const one = await client.sendEmailWithTemplate({
      From: s.from, To: s.to, TemplateAlias: "bill", TemplateModel: { subject: s.subject, name: "Zo\u00eb & co" },
    });
    const batch = await client.sendEmailBatchWithTemplates([
      { From: s.from, To: s.batchTo, TemplateId: made.TemplateId, TemplateModel: { subject: s.subject + " batch", name: "B" } },
      { From: s.from, To: s.batchTo, TemplateAlias: "unknown", TemplateModel: {} },
    ]);
    const push = { SourceServerID: s.serverID, DestinationServerID: s.otherID, PerformChanges: false };
    const planned = await account.pushTemplates(push);
    const pushed = await account.pushTemplates({ ...push, PerformChanges: true });
    await failure("push", account.pushTemplates({ ...push, SourceServerID: 999999 }));
    await failure("placeholder", client.editTemplate("wrap", { HtmlBody: "gone", TextBody: "gone" }));
    await failure("used", client.deleteTemplate("wrap"));
    const removed = await client.deleteTemplate(made.TemplateId);
    const inactive = await client.getTemplate(made.TemplateId);
    await failure("again", client.deleteTemplate(made.TemplateId));
    await failure("model", client.sendEmailWithTemplate({ From: s.from, To: s.to, TemplateAlias: "bill" }));
    return { layout, made, edited, read, all, layouts, valid, invalid, one, batch, planned, pushed, errors, removed, inactive };
  },
};

try {
  console.log(JSON.stringify(await ways[what]()));
} catch (e) {
  console.error(e);
  process.exit(1);
}
