// Package janitor throws away what is no longer kept: message streams that were
// archived long enough ago, with all that they have (contract/streams.md §4),
// and old imports of suppressions, or those that broke off.
//
// # Steps
//
// Run looks around now and then. What is to go goes in small transactions, of
// some rows and some megabytes, with a rest between them, so that mail never
// waits for it; a step that was not made because the process ended is made by the
// next life, since what is left says what is to be done. Open bulk requests are
// cancelled first. The stream's own row goes last: until then its id is taken,
// and its lifetime is known to whoever may still deliver for it.
//
// A stream of which a message waits, as one that was held for a suspension may,
// is left whole until none does: delivery reads what a purge deletes. Nothing
// new can come, since an archived stream accepts nothing and one that is to go
// cannot be taken back into use.
//
// Statistics stay: they are sums, and name nobody.
package janitor
