//! What operators ask of the gateway as a whole: a way from whoever hears it (the admin listener) to whoever does it.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait; one more is turned away.
const QUEUE: usize = 16;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// To read the file again and put it into force.
    Reload {
        /// Only to say what would change.
        plan: bool,
        /// To go back by itself unless somebody confirms within this time; `None`: as the file says.
        confirm: Option<Duration>,
    },
    /// To go back to a configuration that was in force before; `None`: the one before this one.
    Rollback {
        /// Its number in the history.
        to: Option<u64>,
    },
    /// To stay with the configuration in force.
    Confirm,
    /// To let a process of the new binary take this one's place.
    Upgrade,
    /// To tell which configurations were in force.
    History,
    /// To tell what the configuration in force is.
    Config,
}

/// An order, and where its outcome goes.
#[derive(Debug)]
pub struct Order {
    /// What.
    pub what: What,
    /// Who asks, as the log and the history name it.
    pub by: String,
    /// Where the outcome goes.
    pub reply: oneshot::Sender<Told>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The file is wrong; nothing has changed.
    BadFile,
    /// There is nothing that could be done so.
    Impossible,
    /// The environment does not let it; nothing has changed.
    Failed,
}

/// What the one who asked is told.
#[derive(Debug, Clone)]
pub struct Told {
    /// How it went.
    pub outcome: Outcome,
    /// For people.
    pub text: String,
    /// For programs: an object.
    pub facts: Value,
}

/// The way to whoever carries out orders. In a gateway that nobody has given one to, there is none.
#[derive(Debug, Default)]
pub struct Orders(OnceLock<mpsc::Sender<Order>>);

impl Orders {
    /// From now on orders arrive here. Only the first call takes effect.
    pub fn open(&self) -> Option<mpsc::Receiver<Order>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.0.set(sender).ok().map(|()| receiver)
    }

    /// Gives an order and waits for its outcome.
    pub async fn give(&self, what: What, by: String) -> Told {
        let nobody = |text: &str| Told {
            outcome: Outcome::Impossible,
            text: text.to_owned(),
            facts: Value::Object(serde_json::Map::new()),
        };
        let Some(orders) = self.0.get() else {
            return nobody("nobody carries out orders here");
        };
        let (reply, told) = oneshot::channel();
        if orders.try_send(Order { what, by, reply }).is_err() {
            return nobody("too many orders wait already");
        }
        told.await.unwrap_or_else(|_| nobody("the gateway is stopping"))
    }
}
