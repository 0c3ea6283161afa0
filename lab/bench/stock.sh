# Makes Debian's sendmail, as its package configures it, a gateway as the site's: mail for DOMAIN goes to HOP. It is made to listen,
# and the limits for each client do not hold for SENDER; the limits for all clients together stay as they are shipped, but
# for the load average, which in a container is the whole machine's. The firewall drops questions of ident, which it would wait for.
set -eu
name=$1 domain=$2 hop=$3 sender=$4
cd /etc/mail
cp -n access access.package
sed -i -e "s/, Addr=127.0.0.1//" -e "s/Addr=127.0.0.1, //" sendmail.mc
grep -q mailertable sendmail.mc || sed -i -e "/^MAILER_DEFINITIONS/i define(\`confDOMAIN_NAME', \`$name')dnl\\
define(\`confTO_IDENT', \`0')dnl\\
define(\`confQUEUE_LA', \`500')dnl\\
define(\`confREFUSE_LA', \`1000')dnl\\
FEATURE(\`mailertable')dnl" sendmail.mc
printf '%s\tesmtp:[%s]\n' "$domain" "$hop" > mailertable
printf '%s\n' "$domain" > relay-domains
{
    printf 'ClientRate:%s\t0\nClientConn:%s\t0\nGreetPause:%s\t0\n' "$sender" "$sender" "$sender"
    cat access.package
} > access.new
mv access.new access
make all
makemap hash mailertable < mailertable
