"""Configurations of the name servers beside ours in `bench/dns.py`: the same names, one thread, nothing logged."""

UNBOUND = """
server:
    interface: {address}
    port: {port}
    access-control: 127.0.0.0/8 allow
    num-threads: 1
    do-daemonize: no
    use-syslog: no
    logfile: ""
    verbosity: 0
    chroot: ""
    username: ""
    directory: "{work}"
    pidfile: ""
    module-config: "iterator"
    minimal-responses: yes
    local-zone: "{domain}." static
    local-data: "{domain}. {ttl} IN SOA ns.{domain}. root.{domain}. 1 3600 600 86400 {ttl}"
{records}
remote-control:
    control-enable: no
"""

UNBOUND_RECORD = '    local-data: "{name}. {ttl} IN A {address}"'

DNSMASQ = """
port={port}
listen-address={address}
bind-interfaces
no-resolv
no-hosts
no-poll
addn-hosts={work}/hosts
local=/{domain}/
local-ttl={ttl}
cache-size=10000
user=root
group=root
pid-file
"""
