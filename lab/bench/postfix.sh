# Makes Debian's Postfix a gateway as the site's: NAME takes mail for the users (the words after the first three) of DOMAIN and hands
# it to HOP. With TUNED it sends as much at once as it receives, over connections that it keeps.
set -eu
name=$1 domain=$2 hop=$3 sender=$4 tuned=$5
shift 5
for user; do printf '%s@%s OK\n' "$user" "$domain"; done > /etc/postfix/recipients
postmap /etc/postfix/recipients
cp -n /etc/postfix/main.cf /etc/postfix/main.cf.package
cp /etc/postfix/main.cf.package /etc/postfix/main.cf
# What makes it this gateway; and the limits for each client do not hold for the bench's sender.
postconf -e "myhostname=$name" mydestination= "relay_domains=$domain" inet_interfaces=all inet_protocols=ipv4 alias_maps= \
    relay_recipient_maps=hash:/etc/postfix/recipients "transport_maps=inline:{{ $domain = smtp:[$hop] }}" \
    "smtpd_client_event_limit_exceptions=$sender"
if [ "$tuned" = yes ]; then
    postconf -e default_process_limit=200 smtp_destination_concurrency_limit=50 initial_destination_concurrency=20 \
        "smtp_connection_cache_destinations=$hop" in_flow_delay=0
fi
