//! A scenario on its way through a world: who comes when, who does what, what is noted down.

use std::rc::Rc;
use std::sync::Arc;

use shoal_node::Node;
use shoal_node::config::{Config, Scheduler};
use shoal_node::io::{AddTitle, Command, Event as Told, Input, Want};
use shoal_node::link::{ReaderId, TitleId};
use shoal_node::rng::{Rng, Seed};
use shoal_node::time::Instant;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::TitleExtras;
use shoal_wire::peer::BLOCK_LEN;
use shoal_wire::time_index::{KeyPoint, TimeIndex};

use crate::arrived::Arrived;
use crate::catalogue::Catalogue;
use crate::disk::DiskConfig;
use crate::faults::{Crowd, Fault, FaultPlan};
pub use crate::marks::{Marks, Role, Stretch};
use crate::network::{DIRECTORY_PORT, Latency, Matrix, NetworkConfig, Rates, address_of};
use crate::plant::{Plant, Planted};
use crate::policy::Policy;
use crate::scenario::{DelayKind, Find, Finish, Form, JumpTo, Manner, Rest, Scenario};
use crate::workload::{self, nanos};
use crate::world::{Actor, Deceit, Stop, World, WorldConfig};

const TICK_NS: u64 = 250_000_000;
/// Length of the stretches in which the servers' film bytes are summed, nanoseconds: a multiple of the tick.
pub const SERIES_NS: u64 = 5_000_000_000;
/// What is due within so many seconds is fetched before there is room for it.
const CACHE_URGENT_S: u64 = 3;
/// A full disk is tried again after so many seconds.
const DISK_RETRY_S: u64 = 10;
/// Film after the target of a jump of which nothing may be there, milliseconds.
const JUMP_CLEAR_MS: u64 = 2000;

#[derive(Clone, Copy, Debug)]
enum Act {
    Tick,
    Come(u32),
    /// Host, number of its title among those it watches, number of the jump.
    Jump(u32, u32, u32),
    /// Host, number of its title.
    GiveUp(u32, u32),
    /// It turns to another title than the one of this number.
    Turn(u32, u32),
    GoHome(u32),
    Fault(Fault),
}

/// A scenario in its world.
#[derive(Debug)]
pub struct Stage {
    /// The world.
    pub world: World,
    /// The scenario.
    pub scenario: Scenario,
    /// What goes wrong.
    pub plan: FaultPlan,
    /// Notes by host.
    pub marks: Vec<Marks>,
    /// The titles.
    pub catalogue: Rc<Catalogue>,
    /// Film bytes that servers sent in each stretch of [`SERIES_NS`]; the last one may be shorter.
    pub server_film: Vec<u64>,
    config: Arc<Config>,
    /// Of the ordinary peers.
    peer_config: Arc<Config>,
    /// Of the seeds.
    seed_config: Arc<Config>,
    /// Peers are told of the servers alone.
    server_only: bool,
    seed: Seed,
    acts: Vec<Act>,
    plant: Option<Plant>,
    starts: u64,
}

/// What a stage needs besides the scenario.
#[derive(Clone, Copy, Debug)]
pub struct StageOptions<'a> {
    /// Seed of everything.
    pub seed: u64,
    /// Settings of the nodes.
    pub policy: &'a Policy,
    /// Round trips, for `network.kind = "file"`.
    pub rtt: Option<&'a Matrix>,
    /// Follow every request.
    pub strict: bool,
    /// Keep the last turns in words.
    pub words: bool,
    /// A bug put into every ordinary node on purpose.
    pub plant: Option<Plant>,
}

/// The film's time index; the same for all seeds.
fn time_index(scenario: &Scenario) -> Option<TimeIndex> {
    let film = &scenario.film;
    if scenario.viewers == 0 || film.duration_s <= 0.0 {
        return None;
    }
    let (length, duration_ms) = (scenario.film_length(), (film.duration_s * 1000.0) as u64);
    let gops = (film.duration_s / film.gop_s).ceil().max(1.0) as u64;
    let mut rng = Rng::new(Seed::from_u64(7).fork("film", 0));
    let weights: Vec<u64> = (0..gops)
        .map(|_| {
            1000 - 10 * u64::from(film.variation_percent)
                + rng.below(20 * u64::from(film.variation_percent) + 1)
        })
        .collect();
    let total: u64 = weights.iter().sum();
    let media = length - film.head_bytes;
    let mut before = 0u64;
    let mut keys = Vec::with_capacity(weights.len());
    for (gop, weight) in weights.iter().enumerate() {
        let offset =
            film.head_bytes + (u128::from(media) * u128::from(before) / u128::from(total)) as u64;
        keys.push(KeyPoint { time_ms: (gop as f64 * film.gop_s * 1000.0) as u64, offset });
        before += weight;
    }
    Some(TimeIndex { duration_ms, length, boot: vec![(0, film.head_bytes)], keys })
}

impl Stage {
    /// Sets the stage.
    ///
    /// # Errors
    /// A sentence when the title cannot be made or the table of round trips is missing.
    pub fn new(scenario: &Scenario, options: &StageOptions<'_>) -> Result<Self, String> {
        let format = options.policy.format(scenario);
        let length = scenario.film_length();
        let extras = TitleExtras {
            private: options.policy.server_only,
            slot_ms: (scenario.film.slot_s * 1000.0) as u64,
            ..TitleExtras::default()
        };
        let piece = scenario.film.piece_bytes;
        let titles = scenario.catalogue.titles;
        let mut catalogue = Catalogue::new(titles, length, piece, format, &extras)?;
        catalogue.set_time_index(time_index(scenario).map(Arc::new).as_ref());
        let catalogue = Rc::new(catalogue);
        let seed = Seed::from_u64(options.seed);
        let config = WorldConfig {
            network: network_config(scenario, options.rtt, seed)?,
            disk: DiskConfig {
                access_ns: (scenario.disk.access_ms * 1e6) as u64,
                rate: scenario.disk.bytes_per_s,
                hash_rate: scenario.disk.hash_bytes_per_s,
                ..DiskConfig::default()
            },
            strict: options.strict,
            words: options.words,
        };
        let world = World::new(&config, Rc::clone(&catalogue), seed);
        let mut stage = Self {
            world,
            scenario: scenario.clone(),
            plan: FaultPlan::default(),
            marks: Vec::new(),
            catalogue,
            server_film: Vec::new(),
            peer_config: options.policy.config_of(&scenario.foreign, scenario)?,
            seed_config: options.policy.config_of(&scenario.foreign_seeds, scenario)?,
            config: Arc::new(options.policy.config(scenario)),
            server_only: options.policy.server_only,
            seed,
            acts: Vec::new(),
            plant: options.plant,
            starts: 0,
        };
        stage.add_hosts();
        stage.add_faults();
        stage.plan(0, Act::Tick);
        Ok(stage)
    }

    fn plan(&mut self, at_ns: u64, act: Act) {
        self.acts.push(act);
        self.world.plan(at_ns, self.acts.len() as u32 - 1);
    }

    fn add_hosts(&mut self) {
        let scenario = self.scenario.clone();
        for (role, hosts) in [
            (Role::Server, &scenario.server),
            (Role::Seed, &scenario.seeds),
            (Role::Half, &scenario.halves),
        ] {
            for _ in 0..hosts.count {
                let rates = Rates { up: hosts.up_bytes_per_s, down: hosts.down_bytes_per_s };
                self.add_host(role, rates, 0);
            }
        }
        if scenario.lookup.find == Find::Directory {
            self.world.add_directory(0, self.seed.fork("directory", 0));
        }
        let arrivals = workload::arrivals(&scenario.arrival, scenario.peers, self.seed);
        for (index, &at) in arrivals.iter().enumerate() {
            let index = index as u32;
            let up = scenario.rate_of(&scenario.upload, index);
            let down = scenario.rate_of(&scenario.download, index);
            let role = if index < scenario.viewers { Role::Viewer } else { Role::Fetcher };
            self.add_host(role, Rates { up, down }, at);
        }
        if scenario.lookup.find == Find::Directory {
            for host in 0..self.world.hosts() {
                self.world.seat_mut(host).disk.directory = 0;
            }
        }
    }

    fn add_host(&mut self, role: Role, rates: Rates, at_ns: u64) {
        let host = self.world.add_host(rates);
        let pieces = self.catalogue.any().info.layout.piece_count();
        let all = (0..self.catalogue.count()).map(TitleId);
        let mut marks = Marks::new(role, at_ns);
        let seat = self.world.seat_mut(host);
        match role {
            Role::Server | Role::Seed => {
                marks.titles.extend(all);
                for &title in &marks.titles {
                    seat.disk.preload(title, &Bitfield::full(pieces));
                }
            }
            Role::Half => {
                let mut rng = Rng::new(self.seed.fork("half", u64::from(host)));
                marks.titles.extend(all);
                for &title in &marks.titles {
                    let mut all: Vec<u32> = (0..pieces).collect();
                    rng.shuffle(&mut all);
                    let mut half = Bitfield::new(pieces);
                    for &piece in &all[..pieces.div_ceil(2) as usize] {
                        half.set(piece);
                    }
                    seat.disk.preload(title, &half);
                }
            }
            Role::Fetcher | Role::Viewer => {
                let catalogue = &self.scenario.catalogue;
                let title = workload::pick_title(catalogue, host, 0, &[], self.seed).unwrap_or(0);
                marks.titles.push(TitleId(title));
                marks.changes_left = if role == Role::Viewer { catalogue.changes } else { 0 };
            }
        }
        self.marks.push(marks);
        self.plan(at_ns, Act::Come(host));
        if role == Role::Viewer {
            self.plan_viewing(host, at_ns);
        }
    }

    /// Plans what a viewer does with its present title, from its beginning at `at_ns` on.
    fn plan_viewing(&mut self, host: u32, at_ns: u64) {
        let (title, viewing) = self.marks[host as usize].viewing();
        let limit = nanos(self.scenario.limit_s);
        let arrived = Arrived::new(self.catalogue.any().block_count(), limit);
        self.world.seat_mut(host).arrived_at.push((title, arrived));
        let course = workload::course(&self.scenario.play, host, viewing, self.seed);
        for (jump, after) in course.jumps.into_iter().enumerate() {
            self.plan(at_ns + after, Act::Jump(host, viewing, jump as u32));
        }
        if let Some(after) = course.gives_up {
            self.plan(at_ns + after, Act::GiveUp(host, viewing));
        }
        if let Some(after) = course.leaves {
            self.plan(at_ns + after, Act::GoHome(host));
        }
        if self.marks[host as usize].changes_left > 0 {
            let catalogue = &self.scenario.catalogue;
            let after = workload::stays_with(catalogue, host, viewing, self.seed);
            self.plan(at_ns + after, Act::Turn(host, viewing));
        }
    }

    fn add_faults(&mut self) {
        let scenario = &self.scenario;
        let servers = scenario.server.count;
        let peers_from = servers + scenario.seeds.count + scenario.halves.count;
        let crowd = Crowd { servers, peers_from, end: self.world.hosts() };
        let loss = (scenario.network.loss_percent * 100.0) as u32;
        self.plan = FaultPlan::draw(&scenario.faults, loss, crowd, self.seed);
        for partition in self.plan.partitions.clone() {
            self.world.network.add_partition(partition);
        }
        for (at, fault) in self.plan.events.clone() {
            self.plan(at, Act::Fault(fault));
        }
        for &host in &self.plan.deceivers {
            self.marks[host as usize].deceiver = true;
        }
    }

    /// Runs to the end of the scenario, or to `until_ns`; false when it was stopped before it was over. `go_on` is told the
    /// virtual time in milliseconds now and then, and ends the run by saying no.
    pub fn run(&mut self, until_ns: Option<u64>, go_on: &mut dyn FnMut(u64) -> bool) -> bool {
        let limit = nanos(self.scenario.limit_s);
        let until = until_ns.map_or(limit, |until| until.min(limit));
        loop {
            let stop = self.world.run(until);
            self.read_told();
            match stop {
                Stop::Action(act) => {
                    let act = self.acts[act as usize];
                    if matches!(act, Act::Tick) && !go_on(self.world.now() / 1_000_000) {
                        return false;
                    }
                    if self.perform(act) {
                        break;
                    }
                }
                Stop::Broken | Stop::Idle => break,
                Stop::Time if until < limit => return false,
                Stop::Time => break,
            }
        }
        self.note_server_film();
        self.world.check_end();
        if self.scenario.faults.must_finish && self.world.checks.violations().is_empty() {
            self.require_finished();
        }
        true
    }

    fn require_finished(&mut self) {
        for host in 0..self.marks.len() as u32 {
            let marks = &self.marks[host as usize];
            if !self.is_done(marks) {
                let pieces = self.world.seat(host).disk.pieces(marks.viewing().0);
                let text = format!(
                    "it did not finish: {} of {} pieces, film {}{}",
                    pieces.ones(),
                    pieces.len(),
                    if marks.ended_ns.is_some() { "seen" } else { "not seen to its end" },
                    marks
                        .trouble
                        .as_ref()
                        .map(|text| format!(", last trouble: {text}"))
                        .unwrap_or_default(),
                );
                let now = self.world.now();
                self.world.checks.fail(now, host, text);
            }
        }
    }

    fn is_done(&self, marks: &Marks) -> bool {
        if marks.gone_ns.is_some() {
            return true;
        }
        let complete = marks.complete_ns.is_some() || self.scenario.play.rest == Rest::Nothing;
        match (marks.role, self.scenario.finish) {
            (Role::Server | Role::Seed | Role::Half, _) => true,
            (_, Finish::Limit) => true,
            (Role::Viewer, Finish::Play) => marks.ended_ns.is_some() && marks.changes_left == 0,
            (Role::Viewer, Finish::Both) => marks.ended_ns.is_some() && complete,
            (Role::Fetcher, Finish::Play) => true,
            _ => marks.complete_ns.is_some(),
        }
    }

    /// Does what is due; true when the run is over.
    fn perform(&mut self, act: Act) -> bool {
        match act {
            Act::Tick => {
                let now = self.world.now();
                if now > 0 && now.is_multiple_of(SERIES_NS) {
                    self.note_server_film();
                }
                let healed =
                    !self.scenario.faults.must_finish || now >= nanos(self.scenario.faults.heal_s);
                let all_done = self.marks.iter().all(|marks| marks.came && self.is_done(marks));
                if healed && all_done && self.scenario.finish != Finish::Limit {
                    return true;
                }
                self.plan_again(now + TICK_NS);
            }
            Act::Come(host) => self.come(host),
            Act::Jump(host, viewing, number) => self.jump(host, viewing, number),
            Act::GiveUp(host, viewing) => {
                let marks = &self.marks[host as usize];
                if marks.viewing().1 == viewing && !marks.is_shown() {
                    self.go_home(host);
                }
            }
            Act::Turn(host, viewing) => self.turn_to_another(host, viewing),
            Act::GoHome(host) => self.go_home(host),
            Act::Fault(fault) => self.fault(fault),
        }
        false
    }

    /// Closes a stretch of the servers' sums.
    fn note_server_film(&mut self) {
        let servers = 0..self.scenario.server.count;
        let sent: u64 = servers.map(|host| self.world.network.interface(host).film_out).sum();
        self.server_film.push(sent - self.server_film.iter().sum::<u64>());
    }

    /// The tick is always act 0 of its kind: it is planned again without growing the list.
    fn plan_again(&mut self, at_ns: u64) {
        let tick = self.acts.iter().rposition(|act| matches!(act, Act::Tick));
        if let Some(tick) = tick {
            self.world.plan(at_ns, tick as u32);
        }
    }

    fn come(&mut self, host: u32) {
        let now = self.world.now();
        let marks = &mut self.marks[host as usize];
        let first = !marks.came;
        marks.came = true;
        let role = marks.role;
        self.starts += 1;
        let node_seed =
            self.seed.fork("host", (u64::from(host) << 20) | (u64::from(!first) * self.starts));
        let config = self.config_of(role);
        let node = Node::new(Arc::clone(config), node_seed, Instant::from_nanos(now));
        let actor: Box<dyn Actor> = match self.plant {
            Some(plant) if matches!(role, Role::Fetcher | Role::Viewer | Role::Seed) => {
                Box::new(Planted::new(node, plant))
            }
            _ => Box::new(node),
        };
        self.world.start(host, actor);
        if role == Role::Viewer && self.marks[host as usize].startup_ms.is_none() {
            self.world.seat_mut(host).parents = Some(Vec::new());
        }
        if role == Role::Viewer && self.scenario.play.cache_percent > 0 {
            let (quota, slack) = self.cache();
            self.world.seat_mut(host).disk.stored_max = Some(quota + slack);
            let command = Command::Cache { quota: Some(quota), elsewhere: 0 };
            self.world.tell(host, Input::Command(command));
        }
        for title in self.marks[host as usize].titles.clone() {
            self.add_title(host, title);
        }
        if role == Role::Viewer {
            self.play(host);
        }
    }

    /// Settings of a host's node.
    fn config_of(&self, role: Role) -> &Arc<Config> {
        match role {
            Role::Fetcher | Role::Viewer => &self.peer_config,
            Role::Seed => &self.seed_config,
            Role::Server | Role::Half => &self.config,
        }
    }

    /// What a viewer may keep of all its titles, and by how much it may exceed that while it makes room, bytes: two batches, what is
    /// due within three seconds, and what was begun a moment before.
    fn cache(&self) -> (u64, u64) {
        let layout = &self.catalogue.any().info.layout;
        let quota = layout.data_total() * u64::from(self.scenario.play.cache_percent) / 100;
        let piece = u64::from(layout.piece_length());
        let urgent = self.scenario.film.rate_bit_per_s / 8 * CACHE_URGENT_S;
        let batch = (quota / 32).max((4 << 20).min(quota / 8)).min(64 << 20).max(piece);
        // A full disk takes no record, so nothing is freed until it is tried again; and each jump needs something at once.
        let late = match self.scenario.faults.draw {
            true => u64::from(self.scenario.play.jumps) + DISK_RETRY_S.div_ceil(CACHE_URGENT_S),
            false => 0,
        };
        (quota, 2 * batch + urgent * (1 + late) + 4 * piece)
    }

    fn add_title(&mut self, host: u32, title: TitleId) {
        let title = self.title_for(host, title);
        self.world.tell(host, Input::Command(Command::Add(Box::new(title))));
    }

    /// A viewer asks for its present title.
    fn play(&mut self, host: u32) {
        let (title, viewing) = self.marks[host as usize].viewing();
        let command = Command::Play { reader: ReaderId(viewing), title, file: 0, at_ms: 0 };
        self.world.tell(host, Input::Command(command));
    }

    /// A viewer has seen enough of its title, of this number among its own, or all of it, and picks another.
    fn turn_to_another(&mut self, host: u32, viewing: u32) {
        let now = self.world.now();
        let marks = &mut self.marks[host as usize];
        if marks.viewing().1 != viewing || marks.changes_left == 0 {
            return;
        }
        let watched: Vec<u32> = marks.titles.iter().map(|title| title.0).collect();
        let catalogue = &self.scenario.catalogue;
        let next = workload::pick_title(catalogue, host, viewing + 1, &watched, self.seed);
        let here = marks.gone_ns.is_none() && self.world.seat(host).actor().is_some();
        let Some(next) = next.filter(|_| here) else {
            marks.changes_left = 0;
            return;
        };
        marks.changes_left -= 1;
        self.end_stretch(host);
        let marks = &mut self.marks[host as usize];
        marks.ended_ns = None;
        marks.titles.push(TitleId(next));
        marks.later_startups_ms.push(None);
        let reader = ReaderId(viewing);
        self.world.tell(host, Input::Command(Command::Close { reader }));
        self.plan_viewing(host, now);
        self.add_title(host, TitleId(next));
        self.play(host);
        self.read_told();
    }

    fn title_for(&mut self, host: u32, title: TitleId) -> AddTitle {
        let role = self.marks[host as usize].role;
        let content = self.catalogue.title(title);
        let info = &content.info;
        let holder = matches!(role, Role::Server | Role::Seed | Role::Half);
        let at_hand = holder || self.scenario.link.form == Form::Torrent;
        let saved = self.world.seat(host).disk.saved(title).cloned().unwrap_or_default();
        let servers = 0..self.scenario.server.count;
        let peers = match self.scenario.lookup.find {
            _ if self.server_only && !holder => servers.map(address_of).collect(),
            _ if self.server_only => Vec::new(),
            Find::Directory => Vec::new(),
            Find::Given => {
                let mut rng = Rng::new(self.seed.fork("given", u64::from(host)));
                let mut others: Vec<u32> = (0..self.world.hosts())
                    .filter(|&other| other != host && self.world.seat(other).actor().is_some())
                    .filter(|&other| self.marks[other as usize].titles.contains(&title))
                    .collect();
                rng.shuffle(&mut others);
                others.truncate(self.scenario.lookup.given_max as usize);
                others.into_iter().map(address_of).collect()
            }
        };
        let trackers = match self.scenario.lookup.find {
            Find::Directory if !self.server_only => {
                vec![vec![format!("udp://{}:{DIRECTORY_PORT}", address_of(0).ip())]]
            }
            _ => Vec::new(),
        };
        // Who knows no windows would fetch nothing.
        let has_windows = self.config_of(role).swarm.scheduler != Scheduler::Ignore;
        let want = match (role, self.scenario.play.rest) {
            (Role::Half, _) => Want::OnDemand,
            (Role::Viewer, Rest::Nothing) if has_windows => Want::OnDemand,
            (Role::Viewer, _) => Want::Play,
            _ => Want::All,
        };
        let index = content.time_index.as_ref().filter(|_| at_hand || role == Role::Viewer);
        AddTitle {
            title,
            hashes: info.hashes,
            info: at_hand.then(|| Arc::clone(info)),
            piece_layers: if at_hand { content.piece_layers.clone() } else { Vec::new() },
            trackers,
            peers,
            have: (at_hand && saved.have.ones() > 0).then(|| saved.have.clone()),
            partial: if at_hand { saved.partial } else { Vec::new() },
            want,
            // The rules of a source expect that blocks travel on from peer to peer.
            source: role == Role::Server && !self.server_only,
            cached: role == Role::Viewer,
            time_indexes: index.map(|index| (0, Arc::clone(index))).into_iter().collect(),
        }
    }

    fn jump(&mut self, host: u32, viewing: u32, number: u32) {
        let marks = &self.marks[host as usize];
        let here = self.world.seat(host).actor().is_some();
        let Some(index) = self.catalogue.any().time_index.clone() else { return };
        let is_over = marks.ended_ns.is_some() || marks.viewing().1 != viewing;
        if !here || is_over || !marks.is_shown() {
            return;
        }
        let place = u64::from(viewing) << 48 | u64::from(host) << 16 | u64::from(number);
        let mut rng = Rng::new(self.seed.fork("jump", place));
        let last = index.duration_ms.saturating_sub(JUMP_CLEAR_MS + 1000);
        let browse = self.scenario.play.manner == Manner::Browse;
        let target = if browse {
            Some(workload::browse_to(&mut rng, marks.position_ms(self.world.now()), last))
        } else {
            self.draw_target(host, &index, &mut rng)
        };
        let Some(to_ms) = target else { return };
        let now = self.world.now();
        let marks = &mut self.marks[host as usize];
        marks.jumps.push(now);
        // A jump that overtakes another ends no stretch: nothing was shown in between.
        if let Some(stretch) = marks.playing_mut() {
            stretch.until_ns = Some(now);
        }
        let reader = ReaderId(viewing);
        self.world.tell(host, Input::Command(Command::Jump { reader, to_ms }));
        self.read_told();
    }

    /// Where a viewer whose jumps are timed goes.
    fn draw_target(&self, host: u32, index: &TimeIndex, rng: &mut Rng) -> Option<u64> {
        let last = index.duration_ms.saturating_sub(JUMP_CLEAR_MS + 1000);
        (0..500).map(|_| rng.below(last.max(1))).find(|&to_ms| {
            self.scenario.play.jump_to == JumpTo::Anywhere || self.is_clear(host, index, to_ms)
        })
    }

    /// A viewer has had enough: it goes and does not come back.
    fn go_home(&mut self, host: u32) {
        let now = self.world.now();
        let marks = &mut self.marks[host as usize];
        let Some(actor) = self.world.seat(host).actor() else { return };
        marks.gone_ns.get_or_insert(now);
        marks.counters = actor.counters().to_vec();
        self.end_stretch(host);
        self.world.leave(host, false);
    }

    /// What a viewer plays ends here.
    fn end_stretch(&mut self, host: u32) {
        let now = self.world.now();
        let empty = self.is_empty(host);
        let marks = &mut self.marks[host as usize];
        if let Some(stretch) = marks.playing_mut() {
            stretch.until_ns = Some(now);
            marks.stalls += u32::from(empty && marks.ended_ns.is_none());
        }
    }

    /// Whether a viewer has no film ahead: a pause that is not over is told only when it ends, and this gives it away.
    pub(crate) fn is_empty(&self, host: u32) -> bool {
        let title = self.marks[host as usize].viewing().0;
        let views = self.world.seat(host).actor().map(|actor| actor.views()).unwrap_or_default();
        views.iter().any(|view| view.title == title && view.buffer_ms == 0)
    }

    /// Nothing of the two seconds of film after `to_ms` (from its key frame on) is there.
    fn is_clear(&self, host: u32, index: &TimeIndex, to_ms: u64) -> bool {
        let from = index.key_before(to_ms).map_or(0, |key| key.offset);
        let to = index.offset_at(to_ms + JUMP_CLEAR_MS);
        let block = u64::from(BLOCK_LEN);
        let title = self.marks[host as usize].viewing().0;
        let blocks = (from / block) as u32..to.div_ceil(block) as u32;
        !self.world.seat(host).disk.has_any(title, blocks)
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Leave { host, silent } => {
                if self.world.seat(host).actor().is_some() {
                    self.world.leave(host, silent);
                }
            }
            Fault::Return(host) => {
                if self.world.seat(host).actor().is_none() && self.marks[host as usize].came {
                    self.come(host);
                }
            }
            Fault::Loss(per_10000) => self.world.network.set_loss(per_10000),
            Fault::Slow(host, times) => self.world.seat_mut(host).disk.slowness = times,
            Fault::Full(host, full) => self.world.seat_mut(host).disk.full = full,
            Fault::Corrupt(host, corrupt_permille) => {
                let deceit = &mut self.world.seat_mut(host).deceit;
                *deceit = Deceit { corrupt_permille, ..*deceit };
            }
            Fault::Lie(host, claims_all) => {
                let deceit = &mut self.world.seat_mut(host).deceit;
                *deceit = Deceit { claims_all, ..*deceit };
            }
        }
    }

    fn read_told(&mut self) {
        for (at, host, told) in std::mem::take(&mut self.world.told) {
            let marks = &mut self.marks[host as usize];
            let (title, viewing) = marks.viewing();
            match told {
                Told::Playing { startup_ms, reader, .. }
                    if reader.0 == viewing && !marks.is_shown() =>
                {
                    match marks.later_startups_ms.last_mut() {
                        Some(later) => *later = Some(startup_ms),
                        None => {
                            marks.startup_ms = Some(startup_ms);
                            marks.parents = self.world.take_parents(host);
                        }
                    }
                    marks.stretches.push(stretch(title, at, 0));
                }
                Told::Stall { stalled_ms, .. } => {
                    marks.stalls += 1;
                    marks.stalled_ms += stalled_ms;
                    if let Some(stretch) = marks.stretches.last_mut() {
                        stretch.stalled_ms += stalled_ms;
                    }
                }
                Told::Seek { latency_ms, position_ms, .. } => {
                    marks.seeks_ms.push(latency_ms);
                    marks.stretches.push(stretch(title, at, position_ms));
                }
                Told::Ended { .. } => {
                    marks.ended_ns.get_or_insert(at);
                    if let Some(stretch) = marks.playing_mut() {
                        stretch.until_ns = Some(at);
                    }
                    if marks.changes_left > 0 {
                        self.plan(at, Act::Turn(host, viewing));
                    }
                }
                Told::Complete { .. } => {
                    marks.complete_ns.get_or_insert(at);
                }
                Told::Banned { .. } => marks.banned += 1,
                Told::Trouble { message, .. } | Told::ReaderFailed { message, .. } => {
                    marks.trouble = Some(message);
                }
                _ => {}
            }
        }
    }
}

fn stretch(title: TitleId, from_ns: u64, position_ms: u64) -> Stretch {
    Stretch { title, from_ns, position_ms, until_ns: None, stalled_ms: 0 }
}

fn network_config(
    scenario: &Scenario,
    rtt: Option<&Matrix>,
    seed: Seed,
) -> Result<NetworkConfig, String> {
    let net = &scenario.network;
    let one_way_ns = |ms: f64| (ms * 1e6 / 2.0) as u64;
    let latency = match net.kind {
        DelayKind::Constant => Latency::Constant { one_way_ns: one_way_ns(net.rtt_ms) },
        DelayKind::Plane => Latency::Plane {
            extent_ns: one_way_ns(net.plane_ms),
            least_ns: one_way_ns(net.rtt_ms),
            salt: Rng::new(seed.fork("plane", 0)).next_u64(),
        },
        DelayKind::Planetlab => {
            Latency::PlanetLab { salt: Rng::new(seed.fork("planetlab", 0)).next_u64() }
        }
        DelayKind::File => {
            let matrix = rtt.ok_or("network.kind = \"file\" needs a table: give --rtt FILE")?;
            Latency::Matrix(matrix.clone())
        }
    };
    Ok(NetworkConfig {
        latency,
        jitter_ns: (net.jitter_ms * 1e6) as u64,
        loss_per_10000: (net.loss_percent * 100.0) as u32,
        send_queue: net.send_queue_bytes,
    })
}
