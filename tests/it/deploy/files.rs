//! Configuration files that are shipped load as they stand.

use std::path::{Path, PathBuf};

use super::{path, read};
use crate::support::process::command;

fn configurations(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            configurations(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn every_configuration_is_good() {
    let mut found = Vec::new();
    configurations(&path(""), &mut found);
    configurations(&super::root().join("benches/load"), &mut found);
    assert!(found.len() >= 4, "{found:?}");
    let ports = ["PORT", "ADMIN", "API_1", "API_2", "API_3", "API_4"]
        .into_iter()
        .zip(5001..);
    let ports: Vec<(String, String)> = ports
        .map(|(name, port)| (format!("LOAD_{name}"), port.to_string()))
        .collect();
    for file in found {
        let checked = command()
            .args(["check", "-c"])
            .arg(&file)
            .env("GATEWAY_ADMIN_TOKEN", "a-token-of-twenty-4-bytes")
            .env_remove("REDIS_URL")
            .env("LOAD_LOG", "access.log")
            .envs(ports.iter().map(|(name, port)| (name, port)))
            .output()
            .await
            .expect("the binary");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {said}", file.display());
        assert!(!said.contains("warning"), "{}: {said}", file.display());
    }
}

/// The image runs as nobody in particular, is asked by the binary that is in it, and reads no more than it needs.
#[test]
fn the_image_is_what_it_should_be() {
    let dockerfile = std::fs::read_to_string(super::root().join("Dockerfile")).expect("Dockerfile");
    let last = dockerfile.rsplit("\nFROM ").next().expect("a stage");
    for line in [
        "USER 65532:65532",
        "CMD [\"/usr/local/bin/gateway\", \"health\"]",
        "ENTRYPOINT [\"/usr/local/bin/gateway\"]",
        "WORKDIR /etc/gateway",
    ] {
        assert!(last.contains(line), "{line}");
    }
    assert!(
        dockerfile.contains("ENV SOURCE_DATE_EPOCH="),
        "the moment of the build would be in the binary"
    );
    let ignored = std::fs::read_to_string(super::root().join(".dockerignore")).expect(".dockerignore");
    let allowed: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for copied in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let sources = copied.split(' ').filter(|word| !word.starts_with("--"));
        let mut sources: Vec<&str> = sources.collect();
        sources.pop();
        let from_context = !copied.starts_with("--from");
        assert!(
            sources.iter().all(|source| !from_context || allowed.contains(source)),
            "{copied}: the build does not see it"
        );
    }
}

/// What is scraped as which job: rules and dashboard rely on the name.
#[test]
fn everybody_scrapes_by_the_same_name() {
    for file in ["compose/prometheus.yml", "prometheus/prometheus.yml"] {
        assert!(read(file).contains("job_name: gateway"), "{file}");
    }
    let monitor = read("kubernetes/gateway/servicemonitor.yaml");
    assert!(monitor.contains("jobLabel: app.kubernetes.io/name"));
    assert!(read("kubernetes/gateway/kustomization.yaml").contains("app.kubernetes.io/name: gateway"));
}
