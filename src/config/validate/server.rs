//! `[server]`.

use std::net::{IpAddr, SocketAddr};

use super::{Checker, count, networks};
use crate::client::TrustedProxies;
use crate::config::diagnostic::Diagnostic;
use crate::config::file;
use crate::config::model::{HeadLimits, Server};
use crate::config::text::Written;
use crate::config::units::Size;
use crate::config::value::Spanned;

pub(super) fn server(server: &file::server::Server, tls: &file::tls::Tls, checker: &mut Checker<'_>) -> Server {
    let file::server::Server {
        listen,
        threads,
        trusted_proxies,
        proxy_protocol,
        country_file,
        max_body,
        max_header_size,
        max_header_count,
        max_uri_length,
        max_connections,
        max_connections_per_client,
        connection_rate_per_client,
        header_timeout,
        body_timeout,
        write_timeout,
        keepalive_timeout,
        keepalive_requests,
        fast_lane,
        shutdown_timeout,
        upgrade_timeout,
        pre_stop,
        watch,
        confirm,
        state_dir,
    } = server;

    let (trusted_proxies, network_files) = networks::trusted(trusted_proxies, checker);
    let size = bounded("max_header_size", max_header_size, 1 << 10, 1 << 20, checker);
    let uri = bounded("max_uri_length", max_uri_length, 1 << 8, 1 << 20, checker);
    if max_uri_length.given && uri > size {
        checker.error(
            max_uri_length.span,
            "`max_uri_length` can never be reached: it is larger than `max_header_size`",
            "the request line is part of the head: raise `max_header_size` or lower this".to_owned(),
        );
    }
    if max_connections_per_client.given && max_connections_per_client.0 > max_connections.0 {
        checker.error(
            max_connections_per_client.span,
            "`max_connections_per_client` can never be reached: it is larger than `max_connections`",
            "raise `max_connections` or lower this".to_owned(),
        );
    }

    Server {
        listen: listen.0.iter().map(|address| address.value.value).collect(),
        threads: threads.given().map_or_else(cores, |threads| count(threads.value.0)),
        trusted_proxies: TrustedProxies::new(trusted_proxies),
        network_files,
        announcers: networks::announcers(proxy_protocol, listen, checker),
        tls_announcers: networks::announcers(&tls.proxy_protocol, &tls.listen, checker),
        country_file: country_file
            .given()
            .and_then(|file| networks::country_file(file, checker)),
        max_body: max_body.value.value.0,
        head: HeadLimits {
            size,
            fields: count(max_header_count.0),
            uri: uri.min(size),
        },
        max_connections: count(max_connections.0),
        max_connections_per_client: count(max_connections_per_client.0.min(max_connections.0)),
        connection_rate_per_client: connection_rate_per_client.given().map(|rate| rate.value.value),
        header_timeout: header_timeout.value.value.0,
        body_timeout: body_timeout.value.value.0,
        write_timeout: write_timeout.value.value.0,
        keepalive_timeout: keepalive_timeout.value.value.0,
        keepalive_requests: u32::try_from(keepalive_requests.0).unwrap_or(u32::MAX),
        fast_lane: fast_lane.value,
        shutdown_timeout: shutdown_timeout.value.value.0,
        upgrade_timeout: upgrade_timeout.value.value.0,
        pre_stop: pre_stop.value.value,
        watch: watch.value,
        confirm: confirm.given().map(|confirm| confirm.value.value.0),
        state_dir: state_dir.given().map(|dir| checker.path(&dir.value.text)),
    }
}

/// Reports addresses of clients' listeners that cannot be listened on; the first `clear` of them are for clear text.
pub(super) fn collisions(listen: &[&Spanned<Written<SocketAddr>>], clear: usize, checker: &mut Checker<'_>) {
    for (index, address) in listen.iter().enumerate() {
        let earlier = listen[..index]
            .iter()
            .find(|earlier| collide(earlier.value.value, address.value.value));
        let Some(earlier) = earlier else { continue };
        let message = format!(
            "`{}` cannot be listened on: `{}` takes it already",
            address.text, earlier.text
        );
        let fault = Diagnostic::error(address.span, message).help("remove one of them".to_owned());
        // Where the file says nothing about clear text, there is nothing to show.
        checker.report.push(if earlier.given || index < clear {
            fault.also(earlier.span, "takes it")
        } else {
            fault
        });
    }
}

/// Whether both cannot be listened on: the same address, or one of them is every address. Port 0 is any free port.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let every = |ip: IpAddr| ip.is_unspecified();
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && one.port() != 0 && (a == b || (a.is_ipv4() == b.is_ipv4() && (every(a) || every(b))))
}

/// A size that a buffer must be able to hold.
fn bounded(key: &str, size: &Spanned<Written<Size>>, min: u64, max: u64, checker: &mut Checker<'_>) -> usize {
    let bytes = size.value.value.0;
    if !(min..=max).contains(&bytes) {
        checker.error(
            size.span,
            format!("`{key}` must be between `{}` and `{}`", shown(min), shown(max)),
            None,
        );
    }
    usize::try_from(bytes.clamp(min, max)).unwrap_or(usize::MAX)
}

fn shown(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 => format!("{}MB", bytes >> 20),
        bytes if bytes >= 1 << 10 => format!("{}KB", bytes >> 10),
        bytes => format!("{bytes}B"),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide() {
        for (one, other, expected) in [
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("[::1]:80", "127.0.0.1:80", false),
            ("[::]:80", "[::1]:80", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (a, b) = (one.parse().expect("address"), other.parse().expect("address"));
            assert_eq!((collide(a, b), collide(b, a)), (expected, expected), "{one} {other}");
        }
    }
}
