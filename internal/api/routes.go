package api

import "net/http"

// The methods, shorter, so that the table reads as one.
const (
	get  = http.MethodGet
	post = http.MethodPost
	put  = http.MethodPut
	ptch = http.MethodPatch
	del  = http.MethodDelete
)

// settingsLimit is the size of a body that is not mail.
const settingsLimit = 1 << 20

// routes are the customers' calls.
func (a *API) routes() []route {
	dns := a.conf.LongWork
	return []route{
		{method: post, path: "/email", opener: byServer, limit: a.conf.BodyLimit, test: true, mail: true, handle: a.sendEmail},
		{method: post, path: "/email/batch", opener: byServer, limit: a.conf.BatchLimit, within: a.conf.BatchWork, test: true, mail: true, handle: a.sendBatch},
		{method: post, path: "/email/withTemplate", opener: byServer, limit: a.conf.BodyLimit, test: true, mail: true, handle: a.sendTemplate},
		{method: post, path: "/email/batchWithTemplates", opener: byServer, limit: a.conf.BatchLimit, within: a.conf.BatchWork, test: true, mail: true, handle: a.sendTemplates},

		{method: get, path: "/templates", opener: byServer, handle: a.listTemplates},
		{method: post, path: "/templates", opener: byServer, limit: a.conf.BodyLimit, handle: a.createTemplate},
		{method: post, path: "/templates/validate", opener: byServer, limit: a.conf.BodyLimit, handle: a.validateTemplate},
		{method: put, path: "/templates/push", opener: byAccount, limit: settingsLimit, within: a.conf.LongWork, handle: a.pushTemplates},
		{method: get, path: "/templates/{template}", opener: byServer, handle: a.getTemplate},
		{method: put, path: "/templates/{template}", opener: byServer, limit: a.conf.BodyLimit, handle: a.editTemplate},
		{method: del, path: "/templates/{template}", opener: byServer, handle: a.deleteTemplate},
		{method: post, path: "/email/bulk", opener: byServer, limit: a.conf.BatchLimit, within: a.conf.BatchWork, mail: true, handle: a.sendBulk},
		{method: get, path: "/email/bulk", opener: byServer, handle: a.listBulk},
		{method: get, path: "/email/bulk/{bulk}", opener: byServer, handle: a.getBulk},
		{method: post, path: "/email/bulk/{bulk}/cancel", opener: byServer, handle: a.cancelBulk},

		{method: get, path: "/server", opener: byServer, handle: a.getOwnServer},
		{method: put, path: "/server", opener: byServer, limit: settingsLimit, within: dns, handle: a.editOwnServer},
		{method: get, path: "/servers", opener: byAccount, handle: a.listServers},
		{method: post, path: "/servers", opener: byAccount, limit: settingsLimit, within: dns, handle: a.createServer},
		{method: get, path: "/servers/{server}", opener: byAccount, handle: a.getServer},
		{method: put, path: "/servers/{server}", opener: byAccount, limit: settingsLimit, within: dns, handle: a.editServer},
		{method: del, path: "/servers/{server}", opener: byAccount, handle: a.deleteServer},

		{method: get, path: "/message-streams", opener: byServer, handle: a.listStreams},
		{method: get, path: "/message-streams/{stream}", opener: byServer, handle: a.getStream},
		{method: post, path: "/message-streams", opener: byServer, limit: settingsLimit, handle: a.createStream},
		{method: ptch, path: "/message-streams/{stream}", opener: byServer, limit: settingsLimit, handle: a.editStream},
		{method: post, path: "/message-streams/{stream}/archive", opener: byServer, handle: a.archiveStream},
		{method: post, path: "/message-streams/{stream}/unarchive", opener: byServer, handle: a.unarchiveStream},
		{method: get, path: "/message-streams/{stream}/suppressions/dump", opener: byServer, within: a.conf.LongWork, handle: a.dumpSuppressions},
		{method: post, path: "/message-streams/{stream}/suppressions", opener: byServer, limit: settingsLimit, handle: a.createSuppressions},
		{method: post, path: "/message-streams/{stream}/suppressions/delete", opener: byServer, limit: settingsLimit, handle: a.deleteSuppressions},
		{method: post, path: "/message-streams/{stream}/suppressions/import", opener: byServer, limit: importLimit, csv: true, within: a.conf.LongWork, handle: a.importSuppressions},
		{method: get, path: "/message-streams/{stream}/suppressions/import/{import}", opener: byServer, handle: a.getImport},

		{method: get, path: "/messages/outbound", opener: byServer, within: a.conf.LongWork, handle: a.listOutbound},
		{method: get, path: "/messages/outbound/{message}/details", opener: byServer, handle: a.outboundDetails},
		{method: get, path: "/messages/outbound/{message}/dump", opener: byServer, handle: a.outboundDump},
		{method: get, path: "/messages/outbound/{message}/explain", opener: byServer, handle: a.explainOutbound},

		{method: post, path: "/messages/outbound/{message}/cancel", opener: byServer, handle: a.cancelOutbound},
		{method: del, path: "/messages/outbound/{message}/cancel", opener: byServer, handle: a.cancelOutbound},

		{method: get, path: "/smtp-tokens", opener: byServer, handle: a.listSMTPTokens},
		{method: post, path: "/smtp-tokens", opener: byServer, limit: settingsLimit, handle: a.createSMTPToken},
		{method: del, path: "/smtp-tokens/{token}", opener: byServer, handle: a.revokeSMTPToken},
		{method: post, path: "/smtp-tokens/{token}/rotate", opener: byServer, limit: settingsLimit, handle: a.rotateSMTPToken},
		{method: get, path: "/servers/{server}/smtp-tokens", opener: byAccount, handle: a.listSMTPTokens},
		{method: post, path: "/servers/{server}/smtp-tokens", opener: byAccount, limit: settingsLimit, handle: a.createSMTPToken},
		{method: del, path: "/servers/{server}/smtp-tokens/{token}", opener: byAccount, handle: a.revokeSMTPToken},
		{method: post, path: "/servers/{server}/smtp-tokens/{token}/rotate", opener: byAccount, limit: settingsLimit, handle: a.rotateSMTPToken},

		{method: get, path: "/api-tokens", opener: byAccount, handle: ofAccount(a.listAPITokens)},
		{method: post, path: "/api-tokens", opener: byAccount, limit: settingsLimit, handle: ofAccount(a.createAPIToken)},
		{method: del, path: "/api-tokens/{token}", opener: byAccount, handle: ofAccount(a.revokeAPIToken)},
		{method: get, path: "/servers/{server}/api-tokens", opener: byAccount, handle: ofServer(a.listAPITokens)},
		{method: post, path: "/servers/{server}/api-tokens", opener: byAccount, limit: settingsLimit, handle: ofServer(a.createAPIToken)},
		{method: del, path: "/servers/{server}/api-tokens/{token}", opener: byAccount, handle: ofServer(a.revokeAPIToken)},

		{method: get, path: "/domains", opener: byAccount, handle: a.listDomains},
		{method: post, path: "/domains", opener: byAccount, limit: settingsLimit, within: dns, handle: a.createDomain},
		{method: get, path: "/domains/{domain}", opener: byAccount, handle: a.getDomain},
		{method: put, path: "/domains/{domain}", opener: byAccount, limit: settingsLimit, within: dns, handle: a.editDomain},
		{method: del, path: "/domains/{domain}", opener: byAccount, handle: a.deleteDomain},
		{method: put, path: "/domains/{domain}/verifyDkim", opener: byAccount, within: dns, handle: a.verifyDKIM},
		{method: put, path: "/domains/{domain}/verifyReturnPath", opener: byAccount, within: dns, handle: a.verifyReturnPath},
		{method: put, path: "/domains/{domain}/verifyCustomTracking", opener: byAccount, within: dns, handle: a.verifyTracking},
		{method: post, path: "/domains/{domain}/verifyspf", opener: byAccount, within: dns, handle: a.verifySPF},
		{method: put, path: "/domains/{domain}/verifyspf", opener: byAccount, within: dns, handle: a.verifySPF},
		{method: post, path: "/domains/{domain}/rotatedkim", opener: byAccount, within: dns, handle: a.rotateDKIM},
		{method: post, path: "/domains/{domain}/ed25519", opener: byAccount, within: dns, handle: a.addEd25519},

		{method: get, path: "/senders", opener: byAccount, handle: a.listSenders},
		{method: post, path: "/senders", opener: byAccount, limit: settingsLimit, within: dns, handle: a.createSender},
		{method: get, path: "/senders/{sender}", opener: byAccount, handle: a.getSender},
		{method: put, path: "/senders/{sender}", opener: byAccount, limit: settingsLimit, within: dns, handle: a.editSender},
		{method: del, path: "/senders/{sender}", opener: byAccount, handle: a.deleteSender},
		{method: post, path: "/senders/{sender}/resend", opener: byAccount, handle: a.resendConfirmation},
		{method: post, path: "/senders/{sender}/verifyspf", opener: byAccount, within: dns, handle: a.verifySenderSPF},
		{method: put, path: "/senders/{sender}/verifyspf", opener: byAccount, within: dns, handle: a.verifySenderSPF},
		{method: post, path: "/senders/{sender}/requestnewdkim", opener: byAccount, within: dns, handle: a.requestNewDKIM},
	}
}

// operatorRoutes are the operator's calls, on a listener of their own.
func (a *API) operatorRoutes() []route {
	return []route{
		{method: get, path: "/operator/accounts", opener: byOperator, handle: a.listAccounts},
		{method: post, path: "/operator/accounts", opener: byOperator, limit: settingsLimit, handle: a.createAccount},
		{method: get, path: "/operator/accounts/{account}", opener: byOperator, handle: a.getAccount},
		{method: put, path: "/operator/accounts/{account}", opener: byOperator, limit: settingsLimit, handle: a.editAccount},
		{method: post, path: "/operator/accounts/{account}/suspend", opener: byOperator, limit: settingsLimit, handle: a.suspendAccount},
		{method: post, path: "/operator/accounts/{account}/reactivate", opener: byOperator, handle: a.reactivateAccount},

		{method: get, path: "/operator/servers", opener: byOperator, handle: a.listAccountServers},
		{method: get, path: "/operator/servers/{server}", opener: byOperator, handle: a.getAnyServer},
		{method: put, path: "/operator/servers/{server}", opener: byOperator, limit: settingsLimit, handle: a.setServerLimit},
		{method: put, path: "/operator/servers/{server}/limit", opener: byOperator, limit: settingsLimit, handle: a.setServerLimit},
		{method: post, path: "/operator/servers/{server}/suspend", opener: byOperator, limit: settingsLimit, handle: a.suspendServer},
		{method: post, path: "/operator/servers/{server}/reactivate", opener: byOperator, handle: a.reactivateServer},
		{method: post, path: "/operator/servers/{server}/message-streams/{stream}/suppressions/import", opener: byOperator, limit: importLimit, csv: true, within: a.conf.LongWork, handle: a.importSuppressions},
		{method: get, path: "/operator/servers/{server}/message-streams/{stream}/suppressions/import/{import}", opener: byOperator, handle: a.getImport},
		{method: post, path: "/operator/servers/{server}/discard", opener: byOperator, within: a.conf.LongWork, handle: a.discardHeld},

		{method: get, path: "/operator/queue", opener: byOperator, within: a.conf.LongWork, handle: a.queueDepths},
	}
}
