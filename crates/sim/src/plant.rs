//! Bugs put into a node on purpose, from outside: proof that the checks can fail.
//!
//! Each wraps a sound node and breaks it at its vocabulary: an effect is dropped, an input is lost, doubled or changed.
//! `tests/plants.rs` shows for each the scenario and the seed by which it is caught.

use shoal_node::Node;
use shoal_node::io::{Effect, Input, Machine, Outcome};
use shoal_node::stats::{Counters, TitleView};
use shoal_node::time::Instant;
use shoal_wire::peer::{Extended, Message, ShoalMessage};

use crate::world::Actor;

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Plant {
    /// Requests are never taken back.
    NoCancel,
    /// Every hash is said to match.
    SkippedVerification,
    /// The remote's permission to ask is not heard.
    LostUnchoke,
    /// Every fifth block is handed in twice.
    DoubledPiece,
    /// Every fifth finished job is forgotten.
    LostDone,
    /// Every fifth request of others is forgotten.
    LeakedRequest,
    /// The end of a link is not heard.
    DeafToLinkDown,
    /// Every grant of credit is taken for twice as much.
    DoubledCredit,
    /// Nothing that was fetched is announced.
    NoHave,
    /// Nothing that is given up is withdrawn.
    NoWithdrawal,
    /// Links are opened twice.
    DoubledLinkUp,
    /// Useful bytes are counted twice.
    DoubleCount,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::NoCancel,
        Self::SkippedVerification,
        Self::LostUnchoke,
        Self::DoubledPiece,
        Self::LostDone,
        Self::LeakedRequest,
        Self::DeafToLinkDown,
        Self::DoubledCredit,
        Self::NoHave,
        Self::NoWithdrawal,
        Self::DoubledLinkUp,
        Self::DoubleCount,
    ];
    /// A plant by its name in `seeds.txt`.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plant| format!("{plant:?}") == name)
    }
}

/// Which of a kind is spoiled: every fifth.
const EVERY: u32 = 5;

/// A node with a bug.
#[derive(Debug)]
pub struct Planted {
    node: Node,
    plant: Plant,
    seen: u32,
    counters: Vec<Counters>,
}

impl Planted {
    /// Spoils `node`.
    #[must_use]
    pub fn new(node: Node, plant: Plant) -> Self {
        Self { node, plant, seen: 0, counters: Vec::new() }
    }
    fn nth(&mut self) -> bool {
        self.seen += 1;
        self.seen.is_multiple_of(EVERY)
    }
    /// What the node hears of an input: nothing, it, or it twice.
    fn spoil(&mut self, mut input: Input) -> (Option<Input>, bool) {
        match (self.plant, &mut input) {
            (Plant::SkippedVerification, Input::Done { outcome: Outcome::Checked(good), .. }) => {
                *good = true
            }
            (Plant::LostUnchoke, Input::Message { message: Message::Unchoke, .. })
            | (Plant::DeafToLinkDown, Input::LinkDown { .. }) => return (None, false),
            (Plant::DoubledPiece, Input::Message { message: Message::Piece { .. }, .. }) => {
                let twice = self.nth();
                return (Some(input), twice);
            }
            (Plant::LostDone, Input::Done { .. }) if self.nth() => return (None, false),
            (Plant::LeakedRequest, Input::Message { message, .. }) => match message {
                Message::Request(_) if self.nth() => return (None, false),
                Message::Extended(extended) => {
                    if let Extended::Shoal(ShoalMessage::Requests(requests)) = &mut **extended {
                        requests.retain(|_| !self.nth());
                    }
                }
                _ => {}
            },
            (Plant::DoubledCredit, Input::Credit { bytes, .. }) => *bytes *= 2,
            (Plant::DoubledLinkUp, Input::LinkUp { .. }) => return (Some(input), true),
            _ => {}
        }
        (Some(input), false)
    }
    fn is_dropped(&self, effect: &Effect) -> bool {
        let Effect::Send { message, .. } = effect else { return false };
        match self.plant {
            Plant::NoCancel => matches!(message, Message::Cancel(_)),
            Plant::NoWithdrawal => match message {
                Message::Extended(extended) => matches!(**extended, Extended::DontHave { .. }),
                _ => false,
            },
            Plant::NoHave => match message {
                Message::Have { .. } => true,
                Message::Extended(extended) => {
                    matches!(**extended, Extended::Shoal(ShoalMessage::HaveBlocks(_)))
                }
                _ => false,
            },
            _ => false,
        }
    }
}

impl Machine for Planted {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        let before = effects.len();
        let (input, twice) = self.spoil(input);
        if let Some(input) = input {
            if twice {
                self.node.step(now, input.clone(), effects);
            }
            self.node.step(now, input, effects);
        }
        let mut place = 0;
        effects.retain(|effect| {
            place += 1;
            place <= before || !self.is_dropped(effect)
        });
        if self.plant == Plant::DoubleCount {
            self.counters = self.node.counters().to_vec();
            for counters in &mut self.counters {
                counters.useful *= 2;
            }
        }
    }
    fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }
}

impl Actor for Planted {
    fn counters(&self) -> &[Counters] {
        if self.plant == Plant::DoubleCount { &self.counters } else { self.node.counters() }
    }
    fn views(&self) -> Vec<TitleView> {
        self.node.views()
    }
    fn audit(&self) -> Result<(), String> {
        self.node.audit()
    }
}
