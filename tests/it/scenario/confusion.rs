//! The gateway and what is behind it must mean the same path, or the gateway must be the stricter one: nothing that it takes
//! for something else reaches what it was told to keep closed. Express, Rails, and three servers of files.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::client;
use crate::support::gateway::{self, Running};
use crate::support::{eventually, port};

/// Ways to say `/admin/x` that somebody might read so.
const CLOSED: [&str; 72] = [
    "/admin",
    "/admin/",
    "/admin/x",
    "/admin?x",
    "/admin/?x=/public",
    "//admin/x",
    "///admin//x",
    "/./admin/x",
    "/././admin",
    "/.//admin/x",
    "/public/../admin/x",
    "/public/./../admin/x",
    "/public/x/../../admin/x",
    "/public//../admin/x",
    "/public/%2e%2e/admin/x",
    "/public/%2E%2E/admin/x",
    "/public/.%2e/admin/x",
    "/public/%2e./admin/x",
    "/public/..;/admin/x",
    "/public/..;a=b/admin/x",
    "/;/admin/x",
    "/;a=b/admin/x",
    "/admin;/x",
    "/admin;a=b/x",
    "/admin;a=b",
    "/%61dmin/x",
    "/%61%64%6d%69%6e/x",
    "/%41dmin/x",
    "/a%64min/x",
    "/admi%6E/x",
    "/ADMIN/../admin/x",
    "/admin/../admin/x",
    "/admin/./x",
    "/admin//x",
    "/admin/%2e/x",
    "/public/%2e%2e%2fadmin/x",
    "/public/..%2fadmin/x",
    "/public/..%5cadmin/x",
    "/public/..\\admin/x",
    "/\\admin/x",
    "\\admin/x",
    "/admin\\x",
    "/admin%5cx",
    "/admin%2fx",
    "/admin%2Fx",
    "/%2fadmin/x",
    "/%2Fadmin/x",
    "/admin%00/x",
    "/admin%09/x",
    "/admin%20/x",
    "/%252e%252e/admin/x",
    "/public/%252e%252e/admin/x",
    "/public/%c0%ae%c0%ae/admin/x",
    "/public/%e0%80%ae%e0%80%ae/admin/x",
    "http://site.test/admin/x",
    "/public%3f/../admin/x",
    "/public%23/../admin/x",
    "/admin%3fx",
    "/admin%23x",
    "/admin/x%3fy",
    "/admin/x;a",
    "/admin/x/",
    "/admin/x/.",
    "/admin/x.txt",
    "/%2e/admin/x",
    "/.%2fadmin/x",
    "/..%2f/admin/x",
    "/%2e%2e/admin/x",
    "/a/../../admin/x",
    "/%ff/../admin/x",
    "/admin/x%c0%ae",
    "/%2561dmin/x",
];

/// Ways in which Express, which compares without case, takes `/admin`.
const ANY_CASE: [&str; 5] = ["/ADMIN", "/Admin/x", "/%41DMIN/x", "/public/../aDMIN/x", "//admiN//x"];

/// Ways in which Rails, which cuts a format off, takes `/admin`.
const FORMATS: [&str; 6] = [
    "/admin.json",
    "/admin.json/",
    "/admin.j%73on",
    "//admin.xml",
    "/./admin.json",
    "/public/../admin.anything",
];

/// A program of `confusion/` that prints its port, once `.ci/need` has installed what it needs.
async fn start(mut program: Command, needs: &str) -> (Child, u16) {
    let mut child = program.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect(needs);
    let mut lines = BufReader::new(child.stdout.take().expect("output")).lines();
    let port = lines.next_line().await.expect("output").expect("a port");
    (child, port.parse().expect("a port"))
}

fn need(name: &str) {
    let need = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/need");
    let installed = std::process::Command::new(need).arg(name).status();
    assert!(installed.expect(".ci/need").success(), "`.ci/need {name}` installs it");
}

async fn express() -> (Child, u16) {
    need("express");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Beside the packages, for that is where node looks for them; whole at any moment, for another test may be reading it.
    let packages = root.join("target/tools/express");
    let script = packages.join("app.mjs");
    let copy = tempfile::NamedTempFile::new_in(&packages).expect("a file");
    std::fs::copy(root.join("tests/it/scenario/confusion/app.mjs"), copy.path()).expect("a copy");
    copy.persist(&script).expect("a script");
    let mut node = Command::new("node");
    node.arg(script);
    start(node, "node").await
}

async fn rails(files: &Path) -> (Child, u16) {
    need("rails");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenario/confusion/rails.rb");
    let mut ruby = Command::new("ruby");
    ruby.arg(script).arg(files);
    start(ruby, "ruby").await
}

/// A site of files, of which those below `admin` are for few.
fn site() -> TempDir {
    let site = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("admin/index.html", "ADMIN index"),
        ("admin/x", "ADMIN x"),
        ("admin/x.txt", "ADMIN x.txt"),
        ("public/x", "public"),
        ("index.html", "open /"),
    ] {
        let file = site.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        std::fs::write(file, text).expect("a file");
    }
    site
}

/// A gateway before the application, with `/admin/*` closed and this in `[defaults]`.
async fn before(port: u16, defaults: &str) -> Running {
    gateway::start(&format!(
        "[upstream.app]\nservers = [\"127.0.0.1:{port}\"]\n[defaults]\n{defaults}\n\
         [[route]]\nname = \"admin\"\npath = \"/admin/*\"\nupstream = \"app\"\nallow = [\"192.0.2.0/24\"]\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\n"
    ))
    .await
}

async fn ask(gateway: &Running, target: &str) -> client::Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n");
    client::ask(gateway.address, request).await
}

/// Which of these spellings reach what is closed.
async fn leaks<'a>(gateway: &Running, targets: &[&[&'a str]]) -> Vec<&'a str> {
    let mut leaks = Vec::new();
    for &target in targets.iter().copied().flatten() {
        if ask(gateway, target).await.body.starts_with(b"ADMIN ") {
            leaks.push(target);
        }
    }
    leaks
}

async fn nothing_leaks(gateway: &Running, targets: &[&[&str]]) {
    assert_eq!(leaks(gateway, targets).await, [""; 0], "what was closed was served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_closed_stays_closed_before_express() {
    let (_app, port) = express().await;
    let plain = before(port, "").await;
    nothing_leaks(&plain, &[&CLOSED]).await;
    // What Express does by default, and what it takes to be as lenient.
    assert_eq!(leaks(&plain, &[&ANY_CASE]).await, ["/ADMIN", "/Admin/x"]);
    let gateway = before(port, "path_ignores = [\"case\"]").await;
    nothing_leaks(&gateway, &[&CLOSED, &ANY_CASE, &FORMATS]).await;
    // And it is not closed for being closed to everything.
    for gateway in [plain, gateway] {
        for (target, text) in [
            ("/public/x", "public /public/x"),
            ("/Public/x", "public /Public/x"),
            ("/", "open /"),
            ("/administrators", "open /administrators"),
            ("/adm/in", "open /adm/in"),
            ("/public/admin/x", "public /public/admin/x"),
        ] {
            assert_eq!(ask(&gateway, target).await.text(), text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_closed_stays_closed_before_rails() {
    let site = site();
    let (_app, port) = rails(site.path()).await;
    let plain = before(port, "").await;
    nothing_leaks(&plain, &[&CLOSED, &ANY_CASE]).await;
    // What Rails does by default, and what it takes to be as lenient.
    let lenient = ["/admin.json", "/admin.json/", "/admin.j%73on", "//admin.xml"];
    assert_eq!(leaks(&plain, &[&FORMATS]).await, lenient);
    let gateway = before(port, "path_ignores = [\"format\"]").await;
    nothing_leaks(&gateway, &[&CLOSED, &ANY_CASE, &FORMATS]).await;
    for gateway in [plain, gateway] {
        for (target, text) in [
            ("/public/y", "public /public/y"),
            ("/public.json", "public /public.json"),
            ("/", "open /"),
            ("/administrators.json", "open /administrators.json"),
            ("/public/admin/x", "public /public/admin/x"),
        ] {
            assert_eq!(ask(&gateway, target).await.text(), text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_closed_stays_closed_before_servers_of_files() {
    let site = site();
    let root = site.path().to_str().expect("text");
    need("files");
    let conf = site.path().join("nginx.conf");
    let mut servers = Vec::new();
    for name in ["nginx", "python3", "busybox"] {
        let address = port::free();
        let mut program = Command::new(name);
        match name {
            "nginx" => {
                let text = format!(
                    "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}}\n\
                     http {{ access_log off; client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; \
                     uwsgi_temp_path temp; scgi_temp_path temp; server {{ listen {address}; root {root}; }} }}\n"
                );
                std::fs::write(&conf, text).expect("a file");
                program.args(["-e", "stderr", "-p", root, "-c"]).arg(&conf)
            }
            "python3" => program.args([
                "-m",
                "http.server",
                "--bind",
                "127.0.0.1",
                "-d",
                root,
                &address.port().to_string(),
            ]),
            _ => program.args(["httpd", "-f", "-p", &address.to_string(), "-h", root]),
        };
        let quiet = program.stdout(Stdio::null()).stderr(Stdio::null());
        servers.push((name, address, quiet.kill_on_drop(true).spawn().expect(name)));
    }
    for (name, address, _server) in &servers {
        let gateway = before(address.port(), "").await;
        eventually(name, async || ask(&gateway, "/public/x").await.text() == "public").await;
        let around = client::get(*address, "/public/%2e%2e/admin/x", "").await;
        assert_eq!(around.text(), "ADMIN x", "{name} alone");
        nothing_leaks(&gateway, &[&CLOSED, &ANY_CASE, &FORMATS]).await;
        assert_eq!(ask(&gateway, "/").await.text(), "open /", "{name}");
    }
}

/// Ways to say `/public/x` that may be something else to the application, or the same.
const SPELLINGS: [&str; 17] = [
    "/publi%63/x",
    "/PUBLIC/x",
    "//public/x",
    "/public//x",
    "/./public/x",
    "/a/../public/x",
    "/public/%78",
    "/public/x/",
    "/public/x.json",
    "/public/x;a",
    "/public/x%20",
    "/public/x%3fy",
    "/public/x?y",
    "/public/%e2%82%ac",
    "/public/%E2%82%AC",
    "/public/X",
    "/public/x",
];

/// Whatever was asked for before, and whatever routes ignore.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_one_spelling_is_not_given_for_another() {
    let site = site();
    for (name, (_app, port)) in [("Express", express().await), ("Rails", rails(site.path()).await)] {
        let gateway = gateway::start(&format!(
            "[upstream.app]\nservers = [\"127.0.0.1:{port}\"]\n[cache.all]\nttl = \"1h\"\n\
             [defaults]\npath_ignores = [\"case\", \"format\"]\n\
             [[route]]\nname = \"public\"\npath = \"/public/*\"\nupstream = \"app\"\ncache = \"all\"\n\
             [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"app\"\ncache = \"all\"\n"
        ))
        .await;
        let app = ([127, 0, 0, 1], port).into();
        for target in SPELLINGS.iter().chain(SPELLINGS.iter().rev()) {
            let alone = client::get(app, target, "").await;
            let before = ask(&gateway, target).await;
            assert_eq!(
                (before.status, before.text()),
                (alone.status, alone.text()),
                "{name} {target}"
            );
        }
        let kept = ask(&gateway, "/public/x").await;
        let verdict = kept.header("cache-status").expect("a verdict").to_owned();
        assert!(verdict.contains("hit"), "{name}: {verdict}");
    }
}
