"""Configurations of the proxies beside ours in `bench/proxy.py`: what a person would write for the same features.

HAProxy's has our five checks of malformed and smuggled requests too (`zlayer.proxy.haproxy.frontend`): they are 5 % of
the instructions it runs for a request. Traefik and Caddy make their own.
"""

ORIGIN = """
global
    maxconn 4000
    nbthread 1
defaults
    mode http
    timeout client 60s
frontend first
    bind 127.0.0.1:{first}
    bind 127.0.0.1:{second}
    http-request return status 200 content-type text/plain string "{body}"
"""

BY_HAND = """
global
    maxconn 9000
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.2
    log stdout format raw local0
defaults
    mode http
    log global
    option redispatch 1
    option dontlognull
    option http-restrict-req-hdr-names delete
    option abortonclose
    retries 3
    timeout connect 5s
    timeout queue 30s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout tunnel 1h
    log-format '{{"at":%[date(0,ms)],"client":"%ci","host":"%[var(txn.host),json(utf8s)]","backend":"%b","server":"%s",\
"bytes":%B,"method":"%HM","path":"%[var(txn.path),json(utf8s)]","status":%ST,"ms":%Ta,"version":"%HV","end":"%ts"}}'
frontend web
    bind 127.0.0.1:{http}
    bind 127.0.0.1:{https} ssl crt {work}/hand.pem alpn h2,http/1.1
    http-request return status 200 content-type text/plain lf-string "%[path,field(4,/),map({work}/tokens.map)]" \
if {{ path_beg /.well-known/acme-challenge/ }}
    http-request deny deny_status 405 if METH_CONNECT
    http-request deny deny_status 400 if {{ req.ver 1.0 }} {{ req.hdr(transfer-encoding) -m found }}
    http-request deny deny_status 400 if {{ req.hdr(content-length) -m len gt 18 }}
    http-request deny deny_status 400 if {{ req.hdr(host) -m sub / }}
    http-request set-uri %[pathq] if !{{ url_beg / }} !{{ req.ver 2.0 }} {{ url_beg -i http:// https:// }}
    http-request deny deny_status 400 if !{{ url_beg / }} !{{ req.ver 2.0 }} !{{ url -m str * }}
    http-request set-var(txn.host) req.hdr(host),host_only,lower
    http-request set-var(txn.path) path
    http-request wait-for-body time 60s if {{ method POST PUT PATCH }} {{ req.hdr_val(content-length) gt 0 }} \
{{ req.hdr_val(content-length) le 12000 }}
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Real-IP %[src]
    http-request del-header Forwarded
    http-request del-header Proxy
    use_backend %[var(txn.host),concat(,txn.path),map_beg({work}/hosts.map)]
    default_backend none
backend none
backend shop
    balance roundrobin
    http-reuse safe
    server s1 127.0.0.1:{first}
    server s2 127.0.0.1:{second}
"""

TRAEFIK = """
entryPoints:
  web: {{address: "127.0.0.1:{http}"}}
  secure: {{address: "127.0.0.1:{https}"}}
providers: {{file: {{filename: "{work}/routes.yml"}}}}
accessLog: {{filePath: "{work}/traefik-access.log", format: json}}
log: {{level: ERROR}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
"""

TRAEFIK_ROUTES = """
http:
  routers:
    web: {{entryPoints: [web], rule: "Host(`{host}`)", service: shop}}
    secure: {{entryPoints: [secure], rule: "Host(`{host}`)", service: shop, tls: {{}}}}
  services:
    shop:
      loadBalancer:
        servers: [{{url: "http://127.0.0.1:{first}"}}, {{url: "http://127.0.0.1:{second}"}}]
tls:
  stores: {{default: {{defaultCertificate: {{certFile: "{work}/traefik.pem", keyFile: "{work}/traefik.key"}}}}}}
"""

CADDY = """
{{
    admin off
    auto_https off
    default_sni {host}
}}
http://{host}:{http} {{
    log {{
        output file {work}/caddy-access.log
        format json
    }}
    reverse_proxy 127.0.0.1:{first} 127.0.0.1:{second} {{
        lb_policy round_robin
    }}
}}
https://{host}:{https} {{
    tls {work}/caddy.pem {work}/caddy.key
    log {{
        output file {work}/caddy-access.log
        format json
    }}
    reverse_proxy 127.0.0.1:{first} 127.0.0.1:{second} {{
        lb_policy round_robin
    }}
}}
"""
