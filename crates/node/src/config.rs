//! Every limit and every tunable of a node, by name, with its reason: here what a scenario or an operator may change, in
//! `config/limits.rs` the rest.

pub(crate) mod limits;

use core::time::Duration;

/// Settings of a node, shared by all nodes of a simulated world. `Config::default()` is what ships.
#[derive(Clone, Debug)]
pub struct Config {
    /// TCP port that is announced; 0 when we do not listen.
    pub listen_port: u16,
    /// Client name in the extension handshake.
    pub client_name: &'static str,
    /// How titles exchange blocks.
    pub swarm: SwarmConfig,
    /// How readers and playbacks become windows.
    pub play: PlayConfig,
    /// How peers are found.
    pub discover: DiscoverConfig,
}

/// Limits of the exchange.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// Links of one title, both directions.
    pub links_max: usize,
    /// With this many links nobody more is dialed, once there is a seed among them: each more costs every peer
    /// announcements, and a window of congestion control that has to open again for each block.
    pub links_wanted: usize,
    /// Links of one title that may be opening at once.
    pub dials_max: usize,
    /// Dials per second over all titles, so that a poisoned peer list does not make us a weapon.
    pub dials_per_s: u32,
    /// Known peers of one title that are kept to dial later.
    pub known_peers_max: usize,
    /// First pause after a failed dial or a lost link; doubles with each failure in a row.
    pub dial_retry: Duration,
    /// An address is forgotten after this many failures in a row, unless the user named it.
    pub dial_failures_max: u8,
    /// A peer that has nothing for us (both seeds, a duplicate) is not tried again for this long.
    pub not_needed_pause: Duration,
    /// Links from one IP address to one title (loopback and private addresses are not counted).
    pub links_per_ip_max: usize,
    /// Liars of one title that are remembered, by name and by address each; the oldest make room.
    pub bans_max: usize,
    /// Liars at one public host after which nobody there is met again. One would be too few: a whole house may stand behind it.
    pub bans_per_host_max: usize,
    /// Peers that left after they sent something and are remembered: their bytes may still prove wrong.
    pub contributors_max: usize,
    /// A link must bring a handshake within this time.
    pub handshake_timeout: Duration,
    /// A link that says nothing for this long is closed (BEP 3: keep-alives every two minutes).
    pub idle_timeout: Duration,
    /// We send a keep-alive after this much silence of ours.
    pub keep_alive: Duration,
    /// Requests a peer may have waiting here; announced as `reqq`. More are rejected.
    pub requests_in_max: u32,
    /// Requests we have outstanding at one peer at most.
    pub requests_out_max: u32,
    /// Requests outstanding at a peer whose rate is not known yet; one more with each block it sends. With more, the first peer
    /// that serves us gets all of the earliest blocks, and they come one after the other instead of side by side.
    pub requests_out_start: u32,
    /// Requests outstanding in bulk at a peer of known rate at least. With fewer, a peer that is slow because it is asked for
    /// little would be asked for little for ever.
    pub requests_out_min: u32,
    /// In bulk, requests worth this much of a peer's rate are outstanding at it, on top of a round trip. Longer queues make
    /// more peers begin the same piece (libtorrent: 3 s).
    pub queue_time: Duration,
    /// Longest block a foreign client may ask for, bytes (others accept 128 KiB).
    pub request_len_max: u32,
    /// Slots for foreign peers by tit-for-tat (BEP 3: four).
    pub upload_slots: usize,
    /// Optimistic slots on top (BEP 3: one).
    pub optimistic_slots: usize,
    /// Time between two rounds of the choker (BEP 3: 10 s).
    pub choke_interval: Duration,
    /// Time between two optimistic choices (BEP 3: 30 s).
    pub optimistic_interval: Duration,
    /// A peer that was asked and never sent anything is dropped after this long.
    pub silent_after: Duration,
    /// A peer that says nothing at all after its handshake is given up after this long.
    pub mute_after: Duration,
    /// A peer that is interesting to nobody, in either direction, makes room after this long when links are scarce.
    pub useless_after: Duration,
    /// A withdrawn request is given up after this long without an answer.
    pub withdrawn_after: Duration,
    /// Pieces that a choked beginner may ask for at most (BEP 6: ten).
    pub allowed_fast_pieces: u32,
    /// Film in these pieces at most, bytes; but one piece always. Ten large pieces would be a download without any trade.
    pub allowed_fast_bytes: u32,
    /// Choked peers of one title that are served side by side; requests of more are turned down meanwhile. With many, those
    /// who trade would notice.
    pub allowed_fast_peers: usize,
    /// A peer that owes blocks and sends none for this long is snubbed.
    pub snub_after: Duration,
    /// Pieces of which some blocks are held or on their way, besides those in a window.
    pub partial_pieces_max: usize,
    /// Unverified and unwritten film bytes in memory; above it no new requests are made.
    pub memory_max: usize,
    /// Duplicate film bytes for hedging, per mille of received ones (design: 2 % in all; second requests that move instead of doubling use up the rest).
    pub hedge_permille: u32,
    /// Info dictionaries longer than this are refused, bytes.
    pub metadata_max: u32,
    /// Verified blocks are announced this long after the first one that was not (one-copy model: 75 ms).
    pub announce_delay: Duration,
    /// Where there are so many links that announcements would cost more than a hundredth of the film's rate they wait longer,
    /// but not longer than this.
    pub announce_delay_max: Duration,
    /// The same where neither we nor a peer of ours needs anything by a time.
    pub announce_delay_bulk: Duration,
    /// Resume data is recorded at most this often, and only after something was stored.
    pub save_interval: Duration,
    /// A full disk is tried again after this long.
    pub disk_retry: Duration,
    /// Leaf hashes of a piece are asked again after this long.
    pub hash_timeout: Duration,
    /// Which piece is taken next outside the windows.
    pub order: Order,
    /// With [`Order::Portion`], pieces taken in order, percent; above 100 means all. 80 is the best of BiToS (Vlavianos,
    /// Iliofotou and Faloutsos, Global Internet 2006).
    pub portion_percent: u32,
    /// Which blocks may be asked for inside a window.
    pub scheduler: Scheduler,
    /// With [`Scheduler::Deadline`], of whom a windowed block is asked.
    pub choice: Choice,
    /// Whether a source gives each block once as far as it can, and its peers leave it to each other who asks for what.
    pub source_rule: bool,
    /// Whether verified blocks are announced and passed on before their piece is whole.
    pub block_sharing: bool,
    /// Whether every Shoal peer is served, by due time and fair shares; else slots for all.
    pub admit_shoal: bool,
    /// Whether a source shows foreign clients few pieces at a time (BEP 16), so that each piece leaves it once before any leaves
    /// it twice.
    pub super_seeding: bool,
    /// Whether transports are given little more than what the uplink passes on; else all that they take, as other clients do: what lies
    /// there can be neither overtaken nor taken back.
    pub paced: bool,
    /// Whether our own extension is spoken. Without it a node is a foreign client to all others.
    pub speak_shoal: bool,
}

/// Order outside the windows; of everything where [`Scheduler::Ignore`] leaves nothing to them. The first is Shoal's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Held by fewest first.
    Rarest,
    /// Lowest first.
    InOrder,
    /// Any.
    Random,
    /// At random, the less likely the further from the playhead: with a weight of distance to the power of -5/4 (Carlsson and
    /// Eager, "Peer-assisted On-demand Streaming of Stored Media using BitTorrent-like Protocols", Networking 2007; the exponent
    /// is fixed here). Looks at [`limits::ZIPF_SCAN_MAX`] pieces at most.
    Zipf,
    /// Mostly the first one at or after the playhead, else held by fewest first: see [`SwarmConfig::portion_percent`].
    Portion,
}

/// How windowed blocks meet peers. The first is Shoal's; the others are baselines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheduler {
    /// Earliest due block to the peer that [`Choice`] names; hedging.
    Deadline,
    /// Earliest due block to whoever has room: arrivals are not predicted, and there are no second requests.
    EarliestDue,
    /// A piece belongs to the one peer that began it, pieces in order of due time.
    OnePeerPerPiece,
    /// Windows are ignored: only [`Order`] counts.
    Ignore,
}

/// Of whom a block in a window is asked, among peers that hold it and have room. The first is Shoal's; the others look at all
/// linked peers for each block, so they are for comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Who is predicted to bring it first: round trip, rate, what is owed already.
    Arrival,
    /// Any.
    Random,
    /// Who delivered fastest while it owed something.
    Rate,
    /// Who plays next after the block, then who plays last before it, as far as sources told where others play; then the rest.
    Position,
    /// Whose round trip is shortest, as measured.
    RoundTrip,
    /// Whose round trip is shortest, as network coordinates predict it (Vivaldi). Only under this choice are they told to others
    /// and taken from them; of who tells none the measured round trip counts.
    Coordinates,
}

impl Default for SwarmConfig {
    fn default() -> Self {
        Self {
            links_max: 80,
            links_wanted: 16,
            dials_max: 20,
            dials_per_s: 25,
            known_peers_max: 250,
            dial_retry: Duration::from_secs(5),
            dial_failures_max: 6,
            not_needed_pause: Duration::from_secs(600),
            links_per_ip_max: 3,
            bans_max: 1000,
            bans_per_host_max: 4,
            contributors_max: 256,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(150),
            keep_alive: Duration::from_secs(100),
            requests_in_max: 512,
            requests_out_max: 500,
            requests_out_start: 1,
            requests_out_min: 4,
            queue_time: Duration::from_millis(500),
            request_len_max: 128 * 1024,
            upload_slots: 4,
            optimistic_slots: 1,
            choke_interval: Duration::from_secs(10),
            optimistic_interval: Duration::from_secs(30),
            silent_after: Duration::from_secs(45),
            mute_after: Duration::from_secs(30),
            useless_after: Duration::from_secs(60),
            withdrawn_after: Duration::from_secs(5),
            allowed_fast_pieces: 10,
            allowed_fast_bytes: 4 << 20,
            allowed_fast_peers: 2,
            snub_after: Duration::from_secs(20),
            partial_pieces_max: 64,
            memory_max: 24 << 20,
            hedge_permille: 15,
            metadata_max: 16 << 20,
            announce_delay: Duration::from_millis(75),
            announce_delay_max: Duration::from_secs(2),
            announce_delay_bulk: Duration::from_millis(500),
            save_interval: Duration::from_secs(5),
            disk_retry: Duration::from_secs(10),
            hash_timeout: Duration::from_secs(5),
            order: Order::Rarest,
            portion_percent: 80,
            scheduler: Scheduler::Deadline,
            choice: Choice::Arrival,
            source_rule: true,
            block_sharing: true,
            admit_shoal: true,
            super_seeding: true,
            paced: true,
            speak_shoal: true,
        }
    }
}

/// Limits of playback.
#[derive(Clone, Debug)]
pub struct PlayConfig {
    /// Film ahead of a playhead that is fetched by due time. Long, so that who came late fetches some of what only those far
    /// ahead of him need, and has something for them (docs/decisions/0033).
    pub window: Duration,
    /// Film that must be there before a playback starts or goes on.
    pub preroll: Duration,
    /// A reader that took fewer bytes than this in a row is a probe: only what it waits for is urgent.
    pub probe_bytes: u64,
    /// A reader that takes nothing for this long loses its claim on the window.
    pub reader_idle: Duration,
    /// Rate assumed for a film without a time index, bytes/s, until its reader shows another.
    pub default_rate: u64,
    /// Readers and playbacks in all.
    pub readers_max: usize,
    /// Film by which a playhead moves before its windows are told again.
    pub step: Duration,
    /// Film ahead of a probing or displaced reader that is urgent.
    pub slice: Duration,
    /// Bytes ahead of such a reader that are urgent at least.
    pub slice_bytes: u64,
    /// A viewer whose last reader closed this long ago is gone: the next reader is a new start, not a jump.
    pub session_idle: Duration,
    /// Time given to the published time index before a playback starts without it.
    pub index_timeout: Duration,
}

impl Default for PlayConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(90),
            preroll: Duration::from_secs(1),
            probe_bytes: 512 * 1024,
            reader_idle: Duration::from_secs(3),
            default_rate: 625_000,
            readers_max: 256,
            step: Duration::from_millis(500),
            slice: Duration::from_secs(2),
            slice_bytes: 256 * 1024,
            session_idle: Duration::from_secs(60),
            index_timeout: Duration::from_secs(2),
        }
    }
}

/// Limits of discovery.
#[derive(Clone, Debug)]
pub struct DiscoverConfig {
    /// BEP 14 on or off.
    pub local: bool,
    /// BEP 11 on or off.
    pub exchange: bool,
    /// Time between two local announcements (BEP 14: 5 minutes).
    pub local_interval: Duration,
    /// Time between two PEX messages on a link (BEP 11: one minute).
    pub exchange_interval: Duration,
    /// Peers in one PEX message (BEP 11: 50 added, 50 dropped).
    pub exchange_max: usize,
    /// Bounds put on a tracker's interval.
    pub tracker_interval: (Duration, Duration),
    /// Peers asked of a tracker.
    pub num_want: u32,
    /// First pause after a tracker failed; doubles up to the upper bound of `tracker_interval`.
    pub tracker_retry: Duration,
    /// A tier of trackers waits this long for each tier before it (BEP 12 has it wait until they fail, but viewers wait too).
    pub tier_stagger: Duration,
    /// Below this many connected peers a tracker is asked as often as it allows.
    pub few_peers: usize,
    /// How often one datagram is sent to one address of a tracker.
    pub udp_tries: u32,
    /// UDP trackers: first time-out (BEP 15: 15 s, doubling); ours is shorter since film viewers wait.
    pub udp_timeout: Duration,
    /// Whether viewers of a large title find each other by virtual time slots.
    pub slots: bool,
    /// A title is large when a tracker knows more peers of it: with fewer, one answer names them all.
    pub slots_from: u32,
    /// Time given to trackers for the last announce at shutdown.
    pub farewell: Duration,
}

impl Default for DiscoverConfig {
    fn default() -> Self {
        Self {
            local: true,
            exchange: true,
            local_interval: Duration::from_secs(300),
            exchange_interval: Duration::from_secs(60),
            exchange_max: 50,
            tracker_interval: (Duration::from_secs(30), Duration::from_secs(3600)),
            num_want: 80,
            tracker_retry: Duration::from_secs(5),
            tier_stagger: Duration::from_secs(2),
            few_peers: 4,
            udp_tries: 3,
            udp_timeout: Duration::from_secs(3),
            slots: true,
            slots_from: 80,
            farewell: Duration::from_secs(2),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_port: 0,
            client_name: concat!("Shoal ", env!("CARGO_PKG_VERSION")),
            swarm: SwarmConfig::default(),
            play: PlayConfig::default(),
            discover: DiscoverConfig::default(),
        }
    }
}
