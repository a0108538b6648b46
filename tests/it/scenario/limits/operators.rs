//! What operators see of limits and bans, and what they can do about them.

use std::process::Output;

use serde_json::json;

use super::{get, limited, passing};
use crate::support::client;
use crate::support::gateway::Running;
use crate::support::process::command;

/// Runs `gateway limits …` against this gateway.
async fn ask(gateway: &Running, arguments: &[&str]) -> Output {
    let admin = gateway.admin.to_string();
    let mut command = command();
    command.arg("limits").args(arguments).args(["--admin", &admin]);
    command.output().await.expect("the binary")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_tells_what_would_have_been_refused() {
    let limits = "[rate_limit.trial]\nrate = \"2/d\"\nmode = \"report\"\n[rate_limit.wide]\nrate = \"6/d\"";
    let gateway = limited(limits, "\"trial\", \"wide\"").await;
    assert_eq!(passing(&gateway, "X-Forwarded-For: 192.0.2.1\r\n", 7).await, 6);
    for client in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
        assert_eq!(
            get(&gateway, &format!("X-Forwarded-For: {client}\r\n")).await.status,
            200
        );
    }
    let report = client::admin(gateway.admin, "/api/v1/limits/report").await;
    assert_eq!(report.status, 200);
    let report = report.json();
    let (trial, wide) = (&report["limits"][0], &report["limits"][1]);
    assert_eq!(
        (&trial["name"], &trial["mode"], &trial["rate"]),
        (&json!("trial"), &json!("report"), &json!("2/d"))
    );
    // What another limit refused is not what this one let pass, but it would have refused it, too.
    assert_eq!(
        (&trial["allowed"], &trial["would_deny"]),
        (&json!(4), &json!(6)),
        "{report:#}"
    );
    assert_eq!(
        trial["classes"]["ipv4"],
        json!({ "requests": 7, "would_deny": 5, "clients": 1 })
    );
    assert_eq!(
        trial["classes"]["ipv6"],
        json!({ "requests": 3, "would_deny": 1, "clients": 1 })
    );
    assert_eq!(
        (&wide["mode"], &wide["allowed"], &wide["denied"]),
        (&json!("enforce"), &json!(9), &json!(1))
    );

    let told = ask(&gateway, &["report"]).await;
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    let told = text(&told.stdout);
    assert!(told.contains("trial  2/d, burst 1, only reports\n"), "{told}");
    assert!(
        told.contains("IPv4: 7 requests of about 1 clients, too many: 5 (71.4 %)"),
        "{told}"
    );
    assert!(
        told.contains("wide  6/d, burst 5\n  passed: 9, refused: 1 (10.0 %)\n"),
        "{told}"
    );
    let told = ask(&gateway, &["report", "--format", "json"]).await;
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told["limits"][0]["would_deny"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_bans_and_lift_them() {
    let limit = "[rate_limit.api]\nrate = \"1/d\"\nban = { after = 1, within = \"1h\", for = \"10min\" }";
    let gateway = limited(limit, "\"api\"").await;
    assert_eq!(text(&ask(&gateway, &["bans"]).await.stdout), "Nobody is banned.\n");
    for client in ["192.0.2.1", "2001:db8:0:1::7"] {
        for _ in 0..2 {
            get(&gateway, &format!("X-Forwarded-For: {client}\r\n")).await;
        }
    }
    let bans = client::admin(gateway.admin, "/api/v1/bans").await.json();
    assert_eq!(
        (&bans["count"], &bans["bans"][0]["client"]),
        (&json!(2), &json!("192.0.2.1"))
    );
    assert_eq!(
        (&bans["bans"][1]["client"], &bans["bans"][1]["policy"]),
        (&json!("2001:db8:0:1::/64"), &json!("api"))
    );
    let left = bans["bans"][0]["ends_in_seconds"].as_f64().expect("seconds");
    assert!((590.0..=600.0).contains(&left), "{left}");
    let told = ask(&gateway, &["bans"]).await;
    assert!(
        text(&told.stdout).starts_with("192.0.2.1  by api, "),
        "{}",
        text(&told.stdout)
    );

    let status = async |client: &str| {
        let fields = format!("X-Forwarded-For: {client}\r\n");
        client::get(gateway.address, "/free", &fields).await.status
    };
    assert_eq!((status("192.0.2.1").await, status("2001:db8:0:1::8").await), (429, 429));
    // Any address of the network will do.
    for (client, lifted) in [("192.0.2.1", "192.0.2.1"), ("2001:db8:0:1::9", "2001:db8:0:1::/64")] {
        let told = ask(&gateway, &["unban", client]).await;
        assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
        assert_eq!(text(&told.stdout), format!("{lifted} is no longer banned\n"));
    }
    assert_eq!((status("192.0.2.1").await, status("2001:db8:0:1::8").await), (200, 200));
    let again = ask(&gateway, &["unban", "192.0.2.1"]).await;
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).contains("This client is not banned."),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(ask(&gateway, &["unban", "somebody"]).await.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_where_one_client_stands_and_let_it_begin_anew() {
    let limits = "[rate_limit.api]\nrate = \"4/d\"\n\
                  [rate_limit.partner]\nrate = \"9/d\"\nkey = [\"client-ip\", \"header:X-Key\"]";
    let gateway = limited(limits, "\"api\", \"partner\"").await;
    let fields = "X-Forwarded-For: 192.0.2.1\r\nX-Key: s3/cret\r\n";
    assert_eq!(passing(&gateway, fields, 6).await, 4);
    let seen = client::admin(gateway.admin, "/api/v1/limits/api/keys/192.0.2.1").await;
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    let seen = seen.json();
    assert_eq!(
        (&seen["left"], &seen["capacity"], &seen["counted_in"]),
        (&json!(0), &json!(4), &json!("process"))
    );
    let full = seen["full_in_seconds"].as_f64().expect("seconds");
    assert!((86_000.0..=86_400.0).contains(&full), "{full}");
    let told = ask(&gateway, &["show", "partner", "192.0.2.1", "s3/cret"]).await;
    assert!(
        text(&told.stdout).starts_with("5 of 9 left, one more in "),
        "{}",
        text(&told.stdout)
    );
    let told = ask(&gateway, &["show", "api", "192.0.2.2"]).await;
    assert_eq!(text(&told.stdout), "4 of 4 left\n", "who was never seen has everything");

    let told = ask(&gateway, &["reset", "api", "192.0.2.1"]).await;
    assert_eq!(text(&told.stdout), "192.0.2.1 begins anew with api\n");
    assert_eq!(passing(&gateway, fields, 6).await, 4);

    for (arguments, code, said) in [
        (&["show", "apis", "192.0.2.1"][..], 2, "help: limits are api, partner"),
        (
            &["show", "partner", "192.0.2.1"],
            3,
            "counted by client-ip, header:x-key",
        ),
        (&["reset", "api", "somebody"], 3, "`client-ip` is no address"),
    ] {
        let told = ask(&gateway, arguments).await;
        assert_eq!(told.status.code(), Some(code), "{arguments:?}");
        assert!(text(&told.stderr).contains(said), "{}", text(&told.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_gateway_the_command_says_so() {
    let mut command = command();
    command.args(["limits", "report", "--admin", "127.0.0.1:1"]);
    let told = command.output().await.expect("the binary");
    assert_eq!(told.status.code(), Some(3));
    let said = text(&told.stderr);
    assert!(
        said.contains("cannot be asked at 127.0.0.1:1") && said.contains("is it running?"),
        "{said}"
    );
}
