# Makes Debian's sendmail, as its package configures it, a gateway as the site's: mail for DOMAIN goes to HOP. It is made to listen,
# and the limits for each client do not hold for SENDER; the limits for all clients together stay as they are shipped, but
# for the load average, which in a container is the whole machine's.
set -eu
name=$1 domain=$2 hop=$3 sender=$4
shift 4
cd /etc/mail
sed -i -e "s/, Addr=127.0.0.1//" -e "s/Addr=127.0.0.1, //" sendmail.mc
grep -q mailertable sendmail.mc || sed -i -e "/^MAILER_DEFINITIONS/i define(\`confDOMAIN_NAME', \`$name')dnl\\
define(\`confQUEUE_LA', \`500')dnl\
define(\`confREFUSE_LA', \`1000')dnl\
FEATURE(\`mailertable')dnl" sendmail.mc
printf '%s\tesmtp:[%s]\n' "$domain" "$hop" > mailertable
{
    for user; do printf 'To:%s@%s\tRELAY\n' "$user" "$domain"; done
    printf 'To:%s\tERROR:5.1.1:"550 User unknown"\n' "$domain"
    printf 'ClientRate:%s\t0\nClientConn:%s\t0\nGreetPause:%s\t0\n' "$sender" "$sender" "$sender"
    cat access
} > access.new
mv access.new access
make all
