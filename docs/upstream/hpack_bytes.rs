// How many bytes the HPACK encoder writes, and that the decoder reads the same fields out of them.
// Put it into h2's src/hpack/test/, and `mod hpack_bytes;` into src/hpack/test/mod.rs.
use crate::hpack::{Decoder, Encoder, Header};
use bytes::BytesMut;
use http::header::{HeaderName, HeaderValue};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::hash::Hasher;
use std::{io::Cursor, ops::ControlFlow};

type Message = Vec<Header<Option<HeaderName>>>;

#[derive(Default)]
struct Run {
    encoder: Encoder,
    decoder: Decoder,
    bytes: usize,
    hash: fnv::FnvHasher,
}

impl Run {
    fn send(&mut self, message: Message) {
        let mut buf = BytesMut::new();
        self.encoder.encode(message.clone(), &mut buf);
        self.bytes += buf.len();
        self.hash.write(&buf);
        let mut want = message.into_iter();
        self.decoder
            .decode(&mut Cursor::new(&mut buf), |got| {
                assert_eq!(got, want.next().unwrap().reify().unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(want.next().is_none());
    }

    fn end(&self, what: &str) {
        println!("{:>7} bytes {:016x} {what}", self.bytes, self.hash.finish());
    }
}

fn field(name: &str, value: &str) -> Header<Option<HeaderName>> {
    Header::Field {
        name: Some(HeaderName::from_bytes(name.as_bytes()).unwrap()),
        value: HeaderValue::from_str(value).unwrap(),
    }
}

// The same eight fields in each message, and one or more that differ
fn messages(what: &str, mut more: impl FnMut(usize, &mut StdRng) -> Vec<(&'static str, String)>) {
    let usual = [
        ("content-type", "application/json"),
        ("server", "gateway"),
        ("cache-control", "no-store"),
        ("vary", "accept-encoding"),
        ("strict-transport-security", "max-age=31536000"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("alt-svc", "h3=\":443\"; ma=86400"),
    ];
    let mut rng = StdRng::seed_from_u64(1);
    let mut run = Run::default();
    for i in 0..2000 {
        let mut message: Message = usual.iter().map(|(n, v)| field(n, v)).collect();
        message.extend(more(i, &mut rng).iter().map(|(n, v)| field(n, v)));
        run.send(message);
    }
    run.end(what);
}

fn id(rng: &mut StdRng) -> String {
    format!("{:032x}", rng.gen::<u128>())
}

fn date(s: usize) -> String {
    format!("Mon, 30 Nov 2026 00:{:02}:{:02} GMT", s / 60 % 60, s % 60)
}

fn tenant(n: usize) -> Vec<(&'static str, String)> {
    vec![("x-tenant", format!("tenant-number-{n:04}"))]
}

#[test]
fn stories() {
    let mut files: Vec<_> = std::fs::read_dir("fixtures/hpack/nghttp2")
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().map_or(false, |x| x == "json"))
        .collect();
    files.sort();
    let mut bytes = 0;
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let story: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut run = Run::default();
        for case in story["cases"].as_array().unwrap() {
            let fields = case["headers"].as_array().unwrap().iter().map(|field| {
                let (name, value) = field.as_object().unwrap().iter().next().unwrap();
                let value = value.as_str().unwrap().to_string();
                Header::new(name.clone().into(), value.into())
                    .unwrap()
                    .into()
            });
            run.send(fields.collect());
        }
        bytes += run.bytes;
    }
    println!("{bytes:>7} bytes of h2's own stories");
}

#[test]
fn made_up() {
    messages("two ids, date differs after every 100th", |i, rng| {
        let parent = format!("00-{}-0123456789abcdef-01", id(rng));
        vec![
            ("date", date(i / 100)),
            ("x-request-id", id(rng)),
            ("traceparent", parent),
        ]
    });
    for every in [1, 2, 100] {
        messages(&format!("date differs after every {every}"), |i, _| {
            vec![("date", date(i / every))]
        });
    }
    messages(
        "date differs each time 100 times, then after every 100th",
        |i, _| vec![("date", date(if i < 100 { i } else { 100 + i / 100 }))],
    );
    for n in [10, 20] {
        messages(&format!("{n} values in turn"), |i, _| tenant(i % n));
    }
    for n in [20, 50, 200] {
        messages(&format!("one of {n} values at random"), |_, rng| {
            tenant(rng.gen_range(0..n))
        });
    }
    messages("one of 500 values, few of them often", |_, rng| {
        tenant(500f64.powf(rng.gen::<f64>()) as usize)
    });
    messages("half of the time the same, else an id", |_, rng| {
        let same = "a-constant-value-here-of-32-bytes".to_string();
        vec![("x-mixed", if rng.gen_bool(0.5) { same } else { id(rng) })]
    });
    let spread = |n: usize| {
        let n = (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        vec![("x-twice", format!("{n:032x}"))]
    };
    messages("each value twice in a row", |i, _| spread(i / 2));
    messages(
        "each value once more, after twelve other messages",
        |i, _| spread(if i % 2 == 0 { i } else { i.max(13) - 13 }),
    );
}
