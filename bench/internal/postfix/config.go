package postfix

// The configuration is the one that shared performance.md §4 describes: limits
// off that would hold back one busy client, everything else as it comes.
const mainCF = `compatibility_level = 3.6
queue_directory = @DIR@/spool
data_directory = @DIR@/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.bench.test
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
maillog_file = @DIR@/maillog
maillog_file_prefixes = @DIR@
relayhost = @RELAY@
transport_maps = @ROUTES@
smtp_dns_support_level = disabled
smtp_tls_security_level = none
smtpd_peername_lookup = no
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
smtpd_client_auth_rate_limit = 0
smtpd_client_new_tls_session_rate_limit = 0
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = @DIR@/cert.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = @REALM@
cyrus_sasl_config_path = @DIR@/conf/sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
milter_default_action = tempfail
`

// Three ways in: signed, unsigned, and to the discard daemon.
const masterCF = `@SIGNED@ inet n - n - - smtpd
  -o smtpd_milters=unix:@DIR@/opendkim.sock
@UNSIGNED@ inet n - n - - smtpd
@NOWHERE@ inet n - n - - smtpd
  -o content_filter=discard:
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

const saslConf = `pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: @DIR@/sasldb2
`

const opendkimConf = `Mode s
Domain @DOMAIN@
Selector bench
KeyFile @DIR@/dkim.pem
Canonicalization relaxed/relaxed
Socket local:@DIR@/opendkim.sock
UMask 000
Syslog no
InternalHosts 127.0.0.0/8
RequireSafeKeys no
`
