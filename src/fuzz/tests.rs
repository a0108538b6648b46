//! Each of them for a while, on input that is nearly right: good samples, cut, joined and with bytes changed.

use proptest::prelude::*;

use super::*;

const SAMPLES: [&[u8]; 22] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /x?y=1 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 12\r\nConnection: close, X-A\r\n\r\n",
    b"PUT http://a.test/b HTTP/1.0\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"HTTP/1.0 304 \r\nTransfer-Encoding: chunked\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nT: v\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x01\xc6\x33\x64\x02\x1f\x90\x01\xbb\x04\x00\x01\x00",
    b"/a/b;c/../%2e%2E/d%2f//e?f#g",
    b"[2001:db8::1]:8080",
    b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjE4MDAwMDAwMDB9.c2lnbmF0dXJl",
    b"{\"keys\": [{\"kty\": \"RSA\", \"kid\": \"a\", \"n\": \"AQAB\", \"e\": \"AQAB\"}]}",
    b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
    b"Basic YW5uOnNlY3JldA==",
    b"ann:$2y$04$b/h30aruktzRGKvOmf4KyeXw147OyCS6Xc/y6z68AhCW2sN9UIM/O\n",
    b"bob:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$+RsCrdHrAKGEJIDLM0Esow\n",
    b"[acme]\nsha256 = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n",
    b"10.0.0.0/8 # ours\n2001:db8::/32\n",
    b"max-age=60, s-maxage=\"10\", stale-while-revalidate=5, no-cache=\"set-cookie\", private",
    b"bytes=0-4, 5-, -3",
    b"gzip;q=0.5, br, *;q=0, text/html;level=1;q=1.000, \"a\", W/\"b\"",
];

fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let one = (0..SAMPLES.len(), any::<prop::sample::Index>(), any::<bool>()).prop_map(|(sample, cut, whole)| {
        let sample = SAMPLES[sample];
        let end = if whole {
            sample.len()
        } else {
            cut.index(sample.len() + 1)
        };
        sample[..end].to_vec()
    });
    let joined = prop::collection::vec(one, 1..4).prop_map(|parts| parts.concat());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..5);
    (joined, changes).prop_map(|(mut bytes, changes)| {
        for (at, byte, how) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn whatever_comes(bytes in nearly_right()) {
        request_head(&bytes);
        response_head(&bytes);
        chunked(&bytes);
        proxy_header(&bytes);
        target(&bytes);
        credentials(&bytes);
        lists(&bytes);
        fields(&bytes);
    }
}
