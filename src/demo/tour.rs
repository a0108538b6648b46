//! What `gateway demo` runs with, and what it tells to try.

use std::net::SocketAddr;

use super::data::USER;

/// The configuration of the demonstration, as a file would hold it.
#[must_use]
pub fn config(api: &[SocketAddr], web: SocketAddr, listen: SocketAddr, admin: SocketAddr) -> String {
    let servers: Vec<String> = api.iter().map(|server| format!("\"{server}\"")).collect();
    let servers = servers.join(", ");
    format!(
        r#"# Deals247's stand-in behind the gateway: what `gateway demo` runs with.

[server]
listen = ["{listen}"]

[admin]
listen = "{admin}"

[upstream.api]
servers = [{servers}]
health_check = {{ path = "/api/health", interval = "2s", timeout = "1s", unhealthy_after = 2, healthy_after = 2 }}
keepalive = "4s"                  # below the 5 s after which the application closes

[upstream.web]
servers = ["{web}"]
host = "localhost"                # the preview server refuses any other Host
health_check = {{ path = "/", interval = "5s" }}
keepalive = "4s"

[headers.web]
preset = "web"
content_security_policy = "upstream"
remove = ["X-Powered-By"]

[defaults]
headers = "web"
compress = true

[[route]]
name = "health"
path = "/health"
respond = {{ status = 200, content_type = "text/plain", body = "healthy\n" }}
access_log = false

[[route]]
name = "api"
path = "/api/*"
upstream = "api"

[[route]]
name = "short-links"
path = "/s/*"                     # /s/d001, not /search or /sw.js
upstream = "api"

[[route]]
name = "websocket"
path = "/ws/*"
upstream = "api"

[[route]]
name = "echo"                     # the request as the application saw it
path = "/__echo"
upstream = "api"

[[route]]
name = "frontend"
path = "/*"
upstream = "web"
"#
    )
}

/// What to try next, for people.
#[must_use]
pub fn tour(api: &[SocketAddr], web: SocketAddr, listen: SocketAddr, admin: SocketAddr) -> String {
    let gateway = format!("http://{listen}");
    let replicas: Vec<String> = api.iter().map(SocketAddr::to_string).collect();
    let stop = api.first().map_or_else(String::new, |first| {
        format!(
            "  take a replica away for 15 s, and see who answers meanwhile
    curl -X POST 'http://{first}/__stop?seconds=15'
    for i in 1 2 3 4 5 6; do curl -s {gateway}/__echo | grep replica; done

"
        )
    });
    let asset = super::frontend::paths().find(|path| path.starts_with("/assets/index-") && path.ends_with(".js"));
    let asset = asset.unwrap_or("/Deal247.png");
    format!(
        "Deals247 is at {gateway}
  API replicas  {replicas}
  frontend      {web}
  admin         {admin}

Try:
  the page, in a browser or here
    curl -i {gateway}/
  the API, compressed on its way
    curl -i --compressed '{gateway}/api/deals?limit=3'
  somebody's own data
    curl -s -H 'firebase-uid: {USER}' {gateway}/api/notifications/unread-count
  a short link: a redirect, and a click counted
    curl -i {gateway}/s/d001
  a file of the frontend
    curl -sI {gateway}{asset}
  the request as the application saw it: whose X-Forwarded-For is it?
    curl -s -H 'X-Forwarded-For: 1.2.3.4' {gateway}/__echo
  a WebSocket that echoes, with any client
    websocat ws://{listen}/ws/echo
{stop}  what the gateway counted
    curl -s http://{admin}/metrics | grep '^gateway_'
    curl -s http://{admin}/readyz

Ctrl-C stops everything.
",
        replicas = replicas.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> ([SocketAddr; 2], SocketAddr, SocketAddr, SocketAddr) {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        ([at(5000), at(5001)], at(3000), at(8080), at(9900))
    }

    #[test]
    fn the_configuration_is_toml() {
        let (api, web, listen, admin) = addresses();
        let text = config(&api, web, listen, admin);
        let file = toml::de::DeTable::parse(&text).unwrap().into_inner();
        let upstream = file["upstream"].get_ref();
        assert_eq!(
            upstream["api"].get_ref()["servers"].get_ref().as_array().unwrap().len(),
            2
        );
        assert_eq!(file["route"].get_ref().as_array().unwrap().len(), 6);
        assert_eq!(
            file["server"].get_ref()["listen"].get_ref()[0].get_ref().as_str(),
            Some("127.0.0.1:8080")
        );
    }

    #[test]
    fn the_tour_names_every_address() {
        let (api, web, listen, admin) = addresses();
        let text = tour(&api, web, listen, admin);
        for address in [api[0], api[1], web, listen, admin] {
            assert!(text.contains(&address.to_string()), "{address}");
        }
        assert!(text.contains("/assets/index-"), "{text}");
        assert!(tour(&[], web, listen, admin).contains("/metrics"));
    }
}
