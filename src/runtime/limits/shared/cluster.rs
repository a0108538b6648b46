//! A Cluster: which node has which slot, learnt from any of them and again whenever one says that it has moved.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::failure::Failure;
use super::target::{Server, Target};

/// Slots of a Cluster.
pub(super) const SLOTS: usize = 16_384;

/// How long one node may take to tell.
const EACH: Duration = Duration::from_millis(500);

/// A master and the slots that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) ranges: Vec<(u16, u16)>,
}

impl Node {
    /// What stands in the braces of a key that this node has.
    pub(super) fn tag(&self) -> String {
        let has = |slot| self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&slot));
        let own = (0..4 * SLOTS)
            .map(|n| n.to_string())
            .find(|tag| has(slot(tag.as_bytes())));
        format!("{{{}}}", own.unwrap_or_default())
    }
}

/// The slot of what stands in the braces of a key: CRC-16/XMODEM, as the Cluster specification has it.
pub(super) fn slot(tag: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in tag {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
    }
    crc & 0x3fff
}

/// Asks one node after the other; the first answer counts. In the order of the slots.
pub(super) async fn learn(seeds: &[Arc<Target>]) -> Result<Vec<Node>, Failure> {
    let mut last = Failure::Unreachable("no node of the Cluster answers".to_owned());
    for seed in seeds {
        let Target::Server(server) = &**seed else { continue };
        match tokio::time::timeout(EACH, ask(server)).await {
            Ok(Ok(nodes)) if !nodes.is_empty() => return Ok(nodes),
            Ok(Ok(_)) => last = Failure::Unreachable(format!("{}: it knows of no slots", server.address())),
            Ok(Err(failure)) => last = failure,
            Err(_) => last = Failure::Unreachable(format!("{}: it does not answer", server.address())),
        }
    }
    Err(last)
}

async fn ask(server: &Server) -> Result<Vec<Node>, Failure> {
    let (mut handle, driver) = server.connect().await?;
    let slots = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query_async::<Value>(&mut handle)
        .await;
    driver.abort();
    let slots = slots.map_err(|error| Failure::of(&error))?;
    Ok(nodes(&slots, server.host()))
}

/// `here`: the host of the node that was asked, which may leave out its own.
fn nodes(slots: &Value, here: &str) -> Vec<Node> {
    let Value::Array(ranges) = slots else { return Vec::new() };
    let mut nodes: Vec<Node> = Vec::new();
    for range in ranges {
        let Value::Array(parts) = range else { continue };
        let [Value::Int(from), Value::Int(to), Value::Array(master), ..] = &**parts else {
            continue;
        };
        let [host, Value::Int(port), ..] = &**master else {
            continue;
        };
        let (Ok(from), Ok(to), Ok(port)) = (u16::try_from(*from), u16::try_from(*to), u16::try_from(*port)) else {
            continue;
        };
        let host = match host {
            Value::BulkString(bytes) if !bytes.is_empty() => String::from_utf8_lossy(bytes).into_owned(),
            _ => here.to_owned(),
        };
        match nodes.iter_mut().find(|node| node.host == host && node.port == port) {
            Some(node) => node.ranges.push((from, to)),
            None => nodes.push(Node {
                host,
                port,
                ranges: vec![(from, to)],
            }),
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        for (tag, expected) in [("123456789", 12_739), ("", 0), ("foo", 12_182)] {
            assert_eq!(slot(tag.as_bytes()), expected, "{tag}");
        }
    }

    #[test]
    fn what_a_node_tells_is_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let range = |from, to, host, port| {
            let master = Value::Array(vec![text(host), Value::Int(port), text("id")]);
            Value::Array(vec![Value::Int(from), Value::Int(to), master])
        };
        let told = Value::Array(vec![
            range(0, 99, "a", 1),
            range(100, 199, "", 2),
            range(200, 16_383, "a", 1),
            Value::Nil,
        ]);
        let nodes = nodes(&told, "here");
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[0].ranges, [(0, 99), (200, 16_383)]);
        assert_eq!((&*nodes[1].host, nodes[1].port), ("here", 2));
        for node in nodes {
            let tag = node.tag();
            let own = slot(tag.trim_matches(['{', '}']).as_bytes());
            assert!(
                node.ranges.iter().any(|(from, to)| (*from..=*to).contains(&own)),
                "{tag}"
            );
        }
    }
}
