//! Which connection is asked about which key, and the tasks of the connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::Core;
use super::cluster::{self, Node, SLOTS};
use super::line::{self, Line};
use super::target::Target;

/// How often a Cluster is asked which node has what, when nothing has changed and when something fails.
const CALM: Duration = Duration::from_secs(10);
const UNREST: Duration = Duration::from_millis(500);

/// The connections; immutable, replaced as a whole.
#[derive(Default)]
pub(super) struct Routes {
    lines: Vec<Running>,
    /// For each slot of a Cluster the place of its line among `lines`; empty: any line will do.
    slots: Vec<u16>,
}

/// A line whose task is aborted when the last list that has it is gone.
#[derive(Clone)]
struct Running {
    line: Arc<Line>,
    node: Option<(String, u16, String)>,
    _task: Arc<Task>,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Routes {
    /// Several connections to one server.
    pub(super) fn fixed(
        target: &Target,
        connections: usize,
        core: &Arc<Core>,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let lines = (0..connections).map(|place| start(place, target.clone(), "", None, core, runtime));
        Self {
            lines: lines.collect(),
            slots: Vec::new(),
        }
    }

    /// The line of a key; `None`: no node is known to have it.
    pub(super) fn line(&self, core: &Core, id: u128, tag: u64) -> Option<&Arc<Line>> {
        let place = match self
            .slots
            .get(usize::from(core.keys.slot_if(!self.slots.is_empty(), tag)))
        {
            Some(place) => usize::from(*place),
            None => id as usize % self.lines.len().max(1),
        };
        self.lines.get(place).map(|running| &running.line)
    }

    /// The line of a key that is no bucket, by what stands in its braces.
    pub(super) fn line_of(&self, tag: &str) -> Option<&Arc<Line>> {
        let place = self.slots.get(usize::from(cluster::slot(tag.as_bytes())));
        let lines = match place {
            Some(place) => self.lines.get(usize::from(*place)..)?.get(..1)?,
            None => &self.lines[..],
        };
        lines.iter().map(|running| &running.line).find(|line| line.is_up())
    }

    /// Whether keys with different tags must be asked about one by one.
    pub(super) fn is_split(&self) -> bool {
        !self.slots.is_empty()
    }
}

fn start(
    place: usize,
    target: Target,
    tag: &str,
    node: Option<(String, u16, String)>,
    core: &Arc<Core>,
    runtime: &tokio::runtime::Handle,
) -> Running {
    let (line, jobs) = Line::new(place, core.keys.gateways(tag), core.budget);
    let task = runtime.spawn(line::run(Arc::clone(&line), jobs, target, Arc::clone(core)));
    Running {
        line,
        node,
        _task: Arc::new(Task(task.abort_handle())),
    }
}

/// Follows a Cluster for as long as somebody uses it. Place 0 of the health is the knowledge of it.
pub(super) async fn follow(seeds: Vec<Target>, core: Arc<Core>) {
    let seeds: Vec<Arc<Target>> = seeds.into_iter().map(Arc::new).collect();
    let mut known: Vec<Node> = Vec::new();
    let mut next_place = 1;
    loop {
        // Those that were known last, too: the ones of the file may be gone.
        let mut ask = seeds.clone();
        if let Some(Target::Server(template)) = seeds.first().map(|seed| &**seed) {
            let more = known
                .iter()
                .map(|node| Arc::new(Target::Server(template.at(&node.host, node.port))));
            ask.extend(more);
        }
        match cluster::learn(&ask).await {
            Ok(nodes) => {
                if nodes != known {
                    renew(&nodes, &ask[0], &mut next_place, &core);
                    known = nodes;
                }
                core.health.up(0);
            }
            Err(failure) => {
                core.health.metrics.failed(failure.word());
                if known.is_empty() {
                    core.health.down(0, &failure);
                }
            }
        }
        let pause = if core.health.is_down() { UNREST } else { CALM };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = core.moved.notified() => tokio::time::sleep(UNREST / 10).await,
        }
    }
}

/// Takes these nodes into use; lines to nodes that are still there stay.
fn renew(nodes: &[Node], template: &Target, next_place: &mut usize, core: &Arc<Core>) {
    let Target::Server(template) = template else { return };
    let runtime = tokio::runtime::Handle::current();
    let before = core.routes.load_full();
    let mut slots = vec![u16::MAX; SLOTS];
    let mut lines = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let same = |running: &&Running| {
            let Some((host, port, tag)) = &running.node else {
                return false;
            };
            let own = cluster::slot(tag.trim_matches(['{', '}']).as_bytes());
            *host == node.host
                && *port == node.port
                && node.ranges.iter().any(|(from, to)| (*from..=*to).contains(&own))
        };
        let running = before.lines.iter().find(same).cloned().unwrap_or_else(|| {
            let tag = node.tag();
            let target = Target::Server(template.at(&node.host, node.port));
            core.health.expect(*next_place);
            *next_place += 1;
            start(
                *next_place - 1,
                target,
                &tag,
                Some((node.host.clone(), node.port, tag.clone())),
                core,
                &runtime,
            )
        });
        lines.push(running);
        for (from, to) in &node.ranges {
            let place = u16::try_from(place).unwrap_or(u16::MAX);
            slots[usize::from(*from).min(SLOTS - 1)..=usize::from(*to).min(SLOTS - 1)].fill(place);
        }
    }
    for gone in &before.lines {
        if !lines
            .iter()
            .any(|running: &Running| Arc::ptr_eq(&running.line, &gone.line))
        {
            core.health.forget(gone.line.place);
        }
    }
    core.routes.store(Arc::new(Routes { lines, slots }));
}
