//! Orders of the admin listener: what is done about each, and what the one who asked is told.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Applied, Control, Refusal};
use crate::handover::Successor;
use crate::runtime::orders::{Order, Outcome, Told, What};

impl Control {
    /// Carries out what the admin listener hears, from now on.
    pub fn take_orders(self: &Arc<Self>) {
        let Some(mut orders) = self.gateway.live.registry.orders.open() else {
            return;
        };
        let control = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(Order { what, by, reply }) = orders.recv().await {
                let control = Arc::clone(&control);
                tokio::spawn(async move {
                    // Who asked may have gone.
                    let _ = reply.send(control.obey(what, &by).await);
                });
            }
        });
    }

    async fn obey(self: &Arc<Self>, what: What, by: &str) -> Told {
        match what {
            What::Reload { plan: true, .. } => match self.plan().await {
                Ok(plan) => done(plan.text(), plan.json()),
                Err(refusal) => refused(&refusal),
            },
            What::Reload { plan: false, confirm } => applied(self.reload(by, confirm).await, false),
            What::Rollback { to } => applied(self.rollback(by, to).await, true),
            What::Confirm => match self.confirm(by).await {
                Ok(()) => done("the configuration stays\n".to_owned(), json!({})),
                Err(refusal) => refused(&refusal),
            },
            What::Upgrade => match self.upgrade(by).await {
                Ok(Successor { pid, version }) => done(
                    format!(
                        "process {pid} (version {version}) serves; process {} leaves\n",
                        std::process::id()
                    ),
                    json!({ "pid": pid, "version": version, "replaced_pid": std::process::id() }),
                ),
                Err(refusal) => refused(&refusal),
            },
            What::Config => {
                let state = self.state.lock().await;
                let number = state.history.entries().next_back().map(|entry| entry.number);
                let text = state.outline.printed().to_owned();
                let generation = self.gateway.live.peek().generation;
                let facts = json!({ "generation": generation, "number": number, "toml": text });
                done(text, facts)
            }
            What::History => self.tell_history().await,
        }
    }

    async fn tell_history(&self) -> Told {
        let state = self.state.lock().await;
        let mut text = String::new();
        let mut list = Vec::new();
        for (index, entry) in state.history.entries().rev().enumerate() {
            let mark = if index == 0 { "  (in force)" } else { "" };
            text.push_str(&format!("{}  {}  {}{mark}\n", entry.number, entry.at, entry.by));
            for line in entry.diff.lines() {
                text.push_str(&format!("    {line}\n"));
            }
            list.push(json!({
                "number": entry.number, "at": entry.at, "by": entry.by, "diff": entry.diff, "in_force": index == 0,
            }));
        }
        done(
            text,
            json!({ "history": list, "waits_for_confirmation": state.pending.is_some() }),
        )
    }
}

fn done(text: String, facts: Value) -> Told {
    Told {
        outcome: Outcome::Done,
        text,
        facts,
    }
}

fn applied(outcome: Result<Applied, Refusal>, went_back: bool) -> Told {
    let applied = match outcome {
        Ok(applied) => applied,
        Err(refusal) => return refused(&refusal),
    };
    let Applied {
        generation,
        number,
        plan,
        warnings,
        confirm,
    } = applied;
    let mut text = plan.text();
    let mut facts = plan.json();
    if !warnings.is_empty() {
        text = format!("{warnings}\n{text}");
    }
    text.push_str(&format!("configuration {number} is in force\n"));
    if let Some(within) = confirm {
        text.push_str(&format!(
            "it goes back in {} unless `gateway confirm` says that it stays\n",
            shown(within)
        ));
    }
    if went_back {
        text.push_str(
            "the file still says what was in force before: correct it, or the next reload applies it again\n",
        );
    }
    facts["generation"] = json!(generation);
    facts["number"] = json!(number);
    facts["warnings"] = json!(warnings);
    facts["confirm_within_seconds"] = json!(confirm.map(|within| within.as_secs()));
    done(text, facts)
}

fn refused(refusal: &Refusal) -> Told {
    let (outcome, diagnostics) = match refusal {
        Refusal::File(report) => (Outcome::BadFile, report.render_json()),
        Refusal::NoFile | Refusal::NoSuch | Refusal::NothingToConfirm | Refusal::OnTrial => {
            (Outcome::Impossible, Value::Null)
        }
        Refusal::Start(_) | Refusal::Upgrade(_) => (Outcome::Failed, Value::Null),
    };
    Told {
        outcome,
        text: refusal.to_string(),
        facts: json!({ "diagnostics": diagnostics }),
    }
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{} s", time.as_secs_f64()),
    }
}
