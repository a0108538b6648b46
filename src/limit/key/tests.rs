//! Who is told apart, and who is not.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const HEADER: HeaderName = HeaderName::from_static("x-api-key");

struct Request {
    client: &'static str,
    headers: HeaderMap,
    query: Option<&'static str>,
}

fn from(client: &'static str) -> Request {
    Request {
        client,
        headers: HeaderMap::new(),
        query: None,
    }
}

impl Request {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(name, HeaderValue::from_static(value));
        self
    }

    fn asking(mut self, query: &'static str) -> Self {
        self.query = Some(query);
        self
    }

    fn keyed(&self, spec: &KeySpec) -> Keyed {
        let asker = Asker {
            client: self.client.parse().unwrap(),
            method: &http::Method::GET,
            headers: &self.headers,
            query: self.query,
            subject: None,
            route: "api",
            host: "deals247.online",
        };
        spec.key(&KeyHasher::shared(b"").of("limit"), &asker)
    }
}

fn by(sources: &[Source], missing: Missing) -> KeySpec {
    KeySpec {
        sources: sources.to_vec(),
        missing,
        ..KeySpec::default()
    }
}

#[test]
fn clients_are_told_apart_by_network() {
    for (prefix, one, other, same) in [
        (64, "192.0.2.1", "192.0.2.1", true),
        (64, "192.0.2.1", "192.0.2.2", false),
        (64, "192.0.2.1", "::ffff:192.0.2.1", true),
        (64, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
        (64, "2001:db8::1", "2001:db8:0:1::1", false),
        (56, "2001:db8::1", "2001:db8:0:ff::1", true),
        (56, "2001:db8::1", "2001:db8:0:100::1", false),
        (128, "2001:db8::1", "2001:db8::2", false),
        (0, "2001:db8::1", "fe80::1", true),
        (0, "2001:db8::1", "192.0.2.1", false),
        (255, "2001:db8::1", "2001:db8::2", false),
        // An address that is 0 but for its mapping prefix is IPv4, the unspecified IPv6 address is not.
        (64, "::ffff:0.0.0.0", "::", false),
    ] {
        let spec = KeySpec {
            ipv6_prefix: prefix,
            ..KeySpec::default()
        };
        assert_eq!(
            from(one).keyed(&spec) == from(other).keyed(&spec),
            same,
            "{one} {other} /{prefix}"
        );
    }
}

#[test]
fn networks_are_counted_together_under_a_flood() {
    for (prefix, one, other, same) in [
        (64, "192.0.2.1", "192.0.2.255", true),
        (64, "192.0.2.1", "192.0.3.1", false),
        (64, "2001:db8:1::1", "2001:db8:1:ffff::1", true),
        (64, "2001:db8:1::1", "2001:db8:2::1", false),
        (32, "2001:db8:1::1", "2001:db8:2::1", true),
        (64, "::c000:0201", "0.0.0.0", false),
    ] {
        let of = |address: &str| aggregate(address.parse().unwrap(), prefix);
        assert_eq!(of(one) == of(other), same, "{one} {other} /{prefix}");
    }
}

#[test]
fn sources_are_read_from_the_request() {
    use Source::{Cookie, Header, Host, Query, Route};
    let header = || Header(HEADER);
    let cookie = || Cookie("sid".into());
    let query = || Query("api key".into());
    let cases = [
        (header(), from("::1").with("x-api-key", "abc"), Some(&b"abc"[..])),
        (header(), from("::1").with("x-api-key", "  abc "), Some(b"abc")),
        (header(), from("::1").with("x-api-key", ""), None),
        (header(), from("::1"), None),
        (
            header(),
            from("::1").with("x-api-key", "a").with("x-api-key", "b"),
            None,
        ),
        (cookie(), from("::1").with("cookie", "a=b; sid=abc; c=d"), Some(b"abc")),
        (
            cookie(),
            from("::1").with("cookie", "a=b").with("cookie", "sid=abc"),
            Some(b"abc"),
        ),
        (cookie(), from("::1").with("cookie", "asid=abc; sid2=x; sid"), None),
        (cookie(), from("::1").with("cookie", "sid="), None),
        (cookie(), from("::1").with("cookie", "sid=abc; sid=def"), None),
        (cookie(), from("::1").with("cookie", "sid=a=b"), Some(b"a=b")),
        (Route, from("::1"), Some(b"api")),
        (Host, from("::1"), Some(b"deals247.online")),
    ];
    for (source, request, expected) in cases {
        let spec = by(std::slice::from_ref(&source), Missing::Skip);
        let mut framed = KeyHasher::shared(b"").begin("limit");
        let expected = expected.map_or(Keyed::Skipped, |value| {
            framed.part(source.tag(), value);
            Keyed::Counted(Key {
                id: framed.0.finish128().as_u128(),
                aggregate: aggregate(request.client.parse().unwrap(), 64),
            })
        });
        assert_eq!(request.keyed(&spec), expected, "{source:?} {:?}", request.headers);
    }
    let same = |one: &'static str, other: &'static str| {
        let spec = by(&[query()], Missing::Deny);
        let [one, other] = [one, other].map(|text| from("::1").asking(text).keyed(&spec));
        (one == other, one)
    };
    for (text, equal) in [
        ("api+key=a%62c", true),
        ("api%20key=abc", true),
        ("x=y&%61pi+key=abc&z", true),
        ("api+key=abd", false),
        ("api+key=abc%", false),
    ] {
        assert_eq!(same(text, "api+key=abc").0, equal, "{text}");
    }
    for text in ["", "api+key", "api+key=", "apikey=abc", "api+key=abc&api%20key=abc"] {
        assert_eq!(same(text, "").1, Keyed::Refused, "{text}");
    }
}

#[test]
fn what_is_missing_is_the_address_or_nothing_or_a_refusal() {
    let request = from("192.0.2.1");
    let header = [Source::Header(HEADER)];
    assert_eq!(
        request.keyed(&by(&header, Missing::ClientIp)),
        request.keyed(&by(&[Source::ClientIp], Missing::Skip))
    );
    assert_eq!(request.keyed(&by(&header, Missing::Skip)), Keyed::Skipped);
    assert_eq!(request.keyed(&by(&header, Missing::Deny)), Keyed::Refused);
    // Who sends the bytes of an address is not that address.
    let forged = from("192.0.2.9").with("x-api-key", "\u{41}BCD");
    assert_ne!(
        forged.keyed(&by(&header, Missing::ClientIp)),
        from("65.66.67.68").keyed(&by(&header, Missing::ClientIp))
    );
}

#[test]
fn hashes_depend_on_the_limit_and_the_secret_and_on_nothing_else() {
    let asker = Asker::address("192.0.2.1".parse().unwrap());
    let key = |hasher: &KeyHasher, policy: &str| KeySpec::default().key(&hasher.of(policy), &asker);
    let shared = KeyHasher::shared(b"");
    assert_eq!(key(&shared, "api"), key(&KeyHasher::shared(b""), "api"));
    assert_ne!(key(&shared, "api"), key(&shared, "auth"));
    assert_ne!(key(&shared, "api"), key(&KeyHasher::shared(b"secret"), "api"));
    assert_eq!(
        key(&KeyHasher::shared(b"secret"), "api"),
        key(&KeyHasher::shared(b"secret"), "api")
    );
    assert_ne!(key(&KeyHasher::random(), "api"), key(&KeyHasher::random(), "api"));
    // Gateways of different releases share a store: this value is for ever.
    let Keyed::Counted(known) = key(&shared, "api") else {
        panic!("not counted");
    };
    assert_eq!(format!("{:032x}", known.id), "a5069032efe0e861decd5bc2f07e2586");
}

#[test]
fn who_is_named_is_who_asks() {
    let sources = |list: &[Source]| by(list, Missing::ClientIp);
    let cookie = Source::Cookie("sid".into());
    let asks = from("2001:db8:0:1::7")
        .with("x-api-key", "k 1")
        .with("cookie", "a=b; sid=s")
        .asking("q=a%20b");
    for (spec, parts) in [
        (sources(&[Source::ClientIp]), &["2001:db8:0:1::9"][..]),
        (sources(&[Source::Header(HEADER), cookie]), &["k 1", "s"]),
        (sources(&[Source::Query("q".into()), Source::Route]), &["a b", "api"]),
        (
            sources(&[Source::Host, Source::ClientIp]),
            &["deals247.online", "client-ip=2001:db8:0:1::1"],
        ),
        (sources(&[Source::Cookie("none".into())]), &["client-ip=2001:db8:0:1::"]),
    ] {
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let named = spec.named(&KeyHasher::shared(b"").of("limit"), &parts).expect("a key");
        let Keyed::Counted(asked) = asks.keyed(&spec) else {
            panic!("not counted");
        };
        assert_eq!(named.id, asked.id, "{parts:?}");
        if spec.sources.contains(&Source::ClientIp) {
            assert_eq!(named.aggregate, asked.aggregate, "{parts:?}");
        }
    }
}

#[test]
fn nobody_is_named_by_too_little_or_by_no_address() {
    let named = |spec: &KeySpec, parts: &[&str]| {
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        spec.named(&KeyHasher::shared(b"").of("limit"), &parts).map(|_| ())
    };
    let both = by(&[Source::Route, Source::ClientIp], Missing::Deny);
    assert_eq!(named(&both, &["api"]), Err(Unnamed::Parts));
    assert_eq!(named(&both, &["api", "192.0.2.1", "x"]), Err(Unnamed::Parts));
    assert_eq!(named(&both, &["api", "somebody"]), Err(Unnamed::Address(1)));
    // Nothing stands in there: it is a name like any other.
    assert_eq!(named(&both, &["client-ip=nobody", "192.0.2.1"]), Ok(()));
}

proptest! {
    #[test]
    fn parts_do_not_run_into_each_other(one in ".{0,6}", two in ".{0,6}", three in ".{0,6}", four in ".{0,6}") {
        let hash = |parts: [&str; 2]| {
            let mut framed = KeyHasher::shared(b"").begin("limit");
            for part in parts {
                framed.part(2, part.as_bytes());
            }
            framed.0.finish128().as_u128()
        };
        prop_assert_eq!(hash([&one, &two]) == hash([&three, &four]), one == three && two == four);
        let moved = format!("{one}{two}");
        prop_assert_eq!(hash([&one, &two]) == hash([&moved, ""]), two.is_empty());
    }

    #[test]
    fn escapes_are_hashed_as_what_they_stand_for(value in proptest::collection::vec(any::<u8>(), 0..100)) {
        let escaped: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
        let mut framed = [KeyHasher::shared(b"").begin(""), KeyHasher::shared(b"").begin("")];
        framed[0].part(4, &value);
        framed[1].escaped(4, &escaped);
        prop_assert_eq!(framed[0].0.finish128(), framed[1].0.finish128());
        prop_assert_eq!(source::decoded(&escaped).collect::<Vec<_>>(), value);
    }

    #[test]
    fn any_query_is_read(text in "\\PC{0,40}") {
        prop_assert!(source::decoded(&text).count() <= text.len());
    }
}
