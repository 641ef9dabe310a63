// Package bulk takes requests for many personalised messages of one content
// (contract/sending.md §13) and makes the messages of them.
//
// # Taking
//
// A request is checked as a whole before any of it is stored: one mistake
// anywhere refuses it. Then its shared part and its messages, some hundred in a
// row, are stored, in steps of a quarter of a megabyte so that nobody waits for a
// transaction of 50; the last step makes it visible. What a template says is
// stored with it, so that all of its messages say the same. A request of which a
// crash left only a part never shows, and is swept away after an hour.
//
// # Making
//
// Run makes the messages in the order of the request, some at a time, by turns
// among the servers that have open requests and among those of each, and each
// through the door like any other. A server has a bounded number of them.
// One transaction holds the messages of a step and how far the request is with
// them: after a crash it goes on where the last commit left it, and no message is
// made twice or left out. A step is taken before it is made (store.TakeBulk), so
// that several nodes can work on the same requests.
//
// Other mail goes first: steps are small, they wait as long as they took before
// the next, stand back while the door is closed, and their jobs are of the last
// priority and take no room in memory.
//
// A message that the door refuses, all of whose recipients are suppressed, or that
// cannot be rendered, counts as failed and the request goes on. While server or
// account are suspended it waits; when the server is deleted it ends. After a fault
// of ours it waits too, longer with each in a row, and keeps no other waiting.
package bulk
