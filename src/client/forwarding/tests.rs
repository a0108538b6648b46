//! What upstreams are told about the way of a request.

use super::*;
use http::HeaderMap;
use proptest::prelude::*;

/// Peer, client and scheme as `TrustedProxies::identify` finds them.
fn written(peer: &str, client: &str, trusted: bool, lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let client = Client {
        ip: client.parse().unwrap(),
        scheme: if trusted { Scheme::Https } else { Scheme::Http },
        peer_trusted: trusted,
    };
    let mut fields = Onward::of(&headers);
    write_forwarding(
        &mut fields,
        &Forwarding {
            client: &client,
            peer: peer.parse().unwrap(),
            host: "example.com:8080",
            local_port: 8080,
            version: "1.1",
        },
        &Words::default(),
    );
    fields.to_map()
}

fn assert_fields(headers: &HeaderMap, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        let lines: Vec<_> = headers.get_all(*name).iter().collect();
        assert_eq!(lines, [value], "{name}");
    }
}

#[test]
fn a_stranger_is_replaced() {
    let lines = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-For", "7.7.7.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "1"),
        ("X-Real-IP", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("Via", "1.0 fred"),
        ("Via", "1.1 p.example"),
    ];
    let headers = written("198.51.100.1", "198.51.100.1", false, &lines);
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "example.com:8080"),
            ("x-forwarded-port", "8080"),
            ("x-real-ip", "198.51.100.1"),
            ("forwarded", "for=198.51.100.1;host=\"example.com:8080\";proto=http"),
            ("via", "1.0 fred, 1.1 p.example, 1.1 deals247-gateway"),
        ],
    );
    assert_eq!(headers.keys_len(), 7);
}

/// What is known of a connection is of its last request: each next one is told its own.
#[test]
fn words_are_those_of_the_request() {
    let words = Words::default();
    let at = |ip: &str, host: &str, scheme, local_port, version| {
        let client = Client {
            ip: ip.parse().unwrap(),
            scheme,
            peer_trusted: false,
        };
        let facts = Forwarding {
            client: &client,
            peer: client.ip,
            host,
            local_port,
            version,
        };
        let [mut kept, mut fresh] = [Onward::default(), Onward::default()];
        write_forwarding(&mut kept, &facts, &words);
        write_forwarding(&mut fresh, &facts, &Words::default());
        assert_eq!(kept.to_map(), fresh.to_map());
        kept.to_map()
    };
    let first = at("198.51.100.1", "a.example", Scheme::Http, 80, "1.1");
    assert_fields(
        &first,
        &[("forwarded", "for=198.51.100.1;host=\"a.example\";proto=http")],
    );
    assert_eq!(at("198.51.100.1", "a.example", Scheme::Http, 80, "1.1"), first);
    let others = [
        at("198.51.100.2", "a.example", Scheme::Http, 80, "1.1"),
        at("198.51.100.1", "b.example", Scheme::Http, 80, "1.1"),
        at("198.51.100.1", "a.example", Scheme::Https, 80, "1.1"),
        at("198.51.100.1", "a.example", Scheme::Http, 81, "1.1"),
        at("198.51.100.1", "a.example", Scheme::Http, 80, "1.0"),
        at("198.51.100.1", "", Scheme::Http, 80, "1.1"),
    ];
    assert!(others.iter().all(|other| *other != first));
}

#[test]
fn addresses_of_ipv6() {
    let headers = written("2001:db8::1", "2001:db8::1", false, &[]);
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "2001:db8::1"),
            (
                "forwarded",
                "for=\"[2001:db8::1]\";host=\"example.com:8080\";proto=http",
            ),
            ("via", "1.1 deals247-gateway"),
        ],
    );
    let headers = written("::ffff:198.51.100.1", "198.51.100.1", false, &[]);
    assert_fields(&headers, &[("x-forwarded-for", "198.51.100.1")]);
}

#[test]
fn a_trusted_peer_is_extended() {
    let lines = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-Proto", "http, https"),
        ("X-Forwarded-Host", "shop.example"),
        ("X-Forwarded-Port", "8443"),
        ("X-Forwarded-Prefix", "/shop"),
        ("X-Real-IP", "6.6.6.6"),
        ("CF-Connecting-IP", "198.51.100.1"),
        ("Forwarded", "for=198.51.100.1"),
    ];
    let headers = written("10.0.0.1", "198.51.100.1", true, &lines);
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "6.6.6.6, 198.51.100.1, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-prefix", "/shop"),
            ("x-real-ip", "198.51.100.1"),
            ("cf-connecting-ip", "198.51.100.1"),
            ("forwarded", "for=198.51.100.1, for=10.0.0.1"),
            ("via", "1.1 deals247-gateway"),
        ],
    );
}

#[test]
fn what_a_trusted_peer_does_not_tell() {
    let headers = written("10.0.0.1", "198.51.100.1", true, &[("X-Forwarded-For", "198.51.100.1")]);
    assert_fields(
        &headers,
        &[
            ("x-forwarded-for", "198.51.100.1, 10.0.0.1"),
            ("x-forwarded-host", "example.com:8080"),
            ("x-forwarded-port", "443"),
            (
                "forwarded",
                "for=198.51.100.1;host=\"example.com:8080\";proto=https, for=10.0.0.1",
            ),
        ],
    );
    let headers = written("10.0.0.1", "10.0.0.1", true, &[]);
    assert_fields(
        &headers,
        &[
            ("forwarded", "for=10.0.0.1;host=\"example.com:8080\";proto=https"),
            ("x-forwarded-for", "10.0.0.1"),
        ],
    );
}

#[test]
fn a_host_that_cannot_be_written_is_left_out() {
    let client = Client {
        ip: "198.51.100.1".parse().unwrap(),
        scheme: Scheme::Http,
        peer_trusted: false,
    };
    for host in ["", "a\"b;for=6.6.6.6", "a\r\nx: y"] {
        let mut fields = Onward::default();
        let facts = Forwarding {
            client: &client,
            peer: client.ip,
            host,
            local_port: 80,
            version: "1.0",
        };
        write_forwarding(&mut fields, &facts, &Words::default());
        assert_fields(
            &fields.to_map(),
            &[
                ("forwarded", "for=198.51.100.1;proto=http"),
                ("via", "1.0 deals247-gateway"),
            ],
        );
    }
}

proptest! {
    /// No field of a stranger speaks about its way, whatever it is called.
    #[test]
    fn a_strangers_words_never_pass(name in "x[-_]forwarded[-_a-z]{0,10}|x[-_]real[-_]ip|forwarded") {
        let headers = written("198.51.100.1", "198.51.100.1", false, &[(&name, "6.6.6.6")]);
        prop_assert!(headers.values().all(|value| value != "6.6.6.6"));
    }
}
