package account

import (
	"net/http"

	"pennypost"
)

// Codes of the contract that only this package refuses with
// (contract/common.md §6.4, §6.6).
const (
	codeSenderUnknown    pennypost.Code = 501
	codeNoSenderData     pennypost.Code = 502
	codePublicDomain     pennypost.Code = 503
	codeSenderExists     pennypost.Code = 504
	codeRenewing         pennypost.Code = 505
	codeConfirmed        pennypost.Code = 506
	codeDomainUnknown    pennypost.Code = 510
	codeDomainFields     pennypost.Code = 511
	codeDomainExists     pennypost.Code = 512
	codeDomainMissing    pennypost.Code = 514
	codeDomainLong       pennypost.Code = 515
	codeDomainFormat     pennypost.Code = 516
	codeSenderMissing    pennypost.Code = 520
	codeSenderLong       pennypost.Code = 521
	codeSenderFormat     pennypost.Code = 522
	codeServerUnknown    pennypost.Code = 601
	codeInboundTaken     pennypost.Code = 602
	codeServerExists     pennypost.Code = 603
	codeNoDeletes        pennypost.Code = 604
	codeHookURL          pennypost.Code = 606
	codeColor            pennypost.Code = 607
	codeServerName       pennypost.Code = 608
	codeNoServerData     pennypost.Code = 609
	codeInboundMX        pennypost.Code = 610
	codeSpamThreshold    pennypost.Code = 611
	codeTrackLinks       pennypost.Code = 612
	codeDeliveryType     pennypost.Code = 613
	codePlanLimit        pennypost.Code = 614
	codeNotSupported     pennypost.Code = 615
	codeStreamFilter     pennypost.Code = 1221
	codeStreamIDMissing  pennypost.Code = 1222
	codeStreamName       pennypost.Code = 1223
	codeStreamNameLong   pennypost.Code = 1224
	codeStreamLimit      pennypost.Code = 1225
	codeStreamNotFound   pennypost.Code = 1226
	codeStreamIDFormat   pennypost.Code = 1227
	codeStreamInbound    pennypost.Code = 1228
	codeStreamDefault    pennypost.Code = 1229
	codeStreamTaken      pennypost.Code = 1230
	codeStreamTextLong   pennypost.Code = 1231
	codeStreamTooLate    pennypost.Code = 1232
	codeStreamIDPrefix   pennypost.Code = 1233
	codeStreamTextHTML   pennypost.Code = 1234
	codeStreamIDReserved pennypost.Code = 1237
	codeUnsubscribeRight pennypost.Code = 1238
	codeUnsubscribeType  pennypost.Code = 1239
	codeUnsubscribe      pennypost.Code = 1240
	codeStreamBusy       pennypost.Code = 1241
	codeSuppression      pennypost.Code = 1407
	codeSMTPTokenUnknown pennypost.Code = 1451
	codeSMTPTokenNoBody  pennypost.Code = 1452
	codeSMTPTokenServer  pennypost.Code = 1453
	codeSMTPTokenStream  pennypost.Code = 1454
	codeSMTPTokenLength  pennypost.Code = 1456
	codeSMTPTokenInbound pennypost.Code = 1457
	codeSMTPTokenLimit   pennypost.Code = 1458
	codeSMTPTokenArchive pennypost.Code = 1459
	codeSMTPOff          pennypost.Code = 1460
)

// textSuppressionFault is the text of code 1407; ours says more after it.
const textSuppressionFault = "Something went wrong when processing the request."

func notFound(code pennypost.Code, text string) *pennypost.Error {
	return &pennypost.Error{Code: code, Text: text, Status: http.StatusNotFound}
}

// An unknown server is 404 with code 601 (contract/servers.md §5).
func errNoServer() *pennypost.Error { return notFound(codeServerUnknown, "This server was not found.") }

// An unknown signature is 404 with code 501 (contract/senders.md §8).
func errNoSender() *pennypost.Error {
	return notFound(codeSenderUnknown, "This Sender Signature was not found.")
}

func errNoDomain() *pennypost.Error {
	return pennypost.Refuse(codeDomainUnknown, "This domain was not found.")
}

func errNoAccount() *pennypost.Error {
	return notFound(pennypost.CodeServerUnusable, "This account was not found.")
}
