//! The network of an experiment: one namespace per host, all on one bridge, every uplink shaped.
//!
//! ```text
//!   host a [eth0 | tbf] ---- veth ---- [p0  hub: br0  p1] ---- veth ---- [tbf | eth0] host b
//! ```
//!
//! Everything is in namespaces of the laboratory's own, the bridge too, so the machine's network is not touched. Shaping
//! stands at the sender's interface: one connection is pushed back before the queue is full, many together overflow it and
//! lose packets. IPv6 is off. The shaper cuts what the kernel hands it in one piece (segmentation offload) into packets of
//! the MTU, so that the counters behind it hold every header that a wire would carry. Offload itself stays on: without it
//! BBR keeps so little in flight on a path without delay that it is not what runs elsewhere.
//!
//! With a delay there are no bridge and no cables: each host's interface is one end of `wire.rs`, which holds every frame for that long.
//!
//! What it does not do: loss of its own, downlinks (they are as fast as the machine).

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::fault::{Doing, Fault, Tried};
use crate::tap::Tap;
use crate::wire::Wire;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// How the names of our namespaces begin; the process id follows.
const PREFIX: &str = "shoal-lab-";
/// Hosts that one bridge takes here: 10.78.0.1 to 10.78.0.250.
const HOSTS_MAX: usize = 250;
/// How long a packet may wait in a shaper's queue, milliseconds (as in the baselines).
const QUEUE_MS: u64 = 50;
/// Smallest bucket of a shaper, bytes: a few packets.
const BURST_MIN: u64 = 16 * 1024;
/// Largest packet that leaves a shaper, bytes: a frame of the MTU, and room for the rounding of its size to clock ticks.
const PACKET_MAX: &str = "1600";

/// Bytes of an Ethernet header, which interface counters hold and IP does not.
pub(crate) const ETHERNET_BYTES: u64 = 14;

/// A network that vanishes when it is dropped, with every process in it.
#[derive(Debug)]
pub(crate) struct Net {
    prefix: String,
    congestion: String,
    names: Vec<String>,
    hosts: usize,
    wire: Option<Wire>,
}

/// A machine of the network.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its name within the experiment.
    pub(crate) name: String,
    /// Its address.
    pub(crate) ip: Ipv4Addr,
    space: File,
}

/// What an interface counted since it was made: whole frames without checksum and preamble.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    /// Bytes received.
    pub(crate) rx_bytes: u64,
    /// Frames received.
    pub(crate) rx_frames: u64,
    /// Bytes sent.
    pub(crate) tx_bytes: u64,
    /// Frames sent.
    pub(crate) tx_frames: u64,
}

impl Counters {
    /// What was counted between `earlier` and this.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes.saturating_sub(earlier.rx_bytes),
            rx_frames: self.rx_frames.saturating_sub(earlier.rx_frames),
            tx_bytes: self.tx_bytes.saturating_sub(earlier.tx_bytes),
            tx_frames: self.tx_frames.saturating_sub(earlier.tx_frames),
        }
    }

    /// Bytes received as IP counts them.
    pub(crate) fn rx_ip_bytes(self) -> u64 {
        self.rx_bytes.saturating_sub(self.rx_frames * ETHERNET_BYTES)
    }

    /// The line of `interface` in a file like `/proc/net/dev`.
    fn parse(text: &str, interface: &str) -> Option<Self> {
        let line = text
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
        let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().ok());
        let (rx_bytes, rx_frames) = (fields.next()??, fields.next()??);
        let (tx_bytes, tx_frames) = (fields.nth(6)??, fields.next()??);
        Some(Self { rx_bytes, rx_frames, tx_bytes, tx_frames })
    }
}

impl Net {
    /// An empty network whose hosts use `congestion` as their TCP congestion control; packets from one to another take
    /// `delay_ms`.
    pub(crate) fn new(congestion: &str, delay_ms: u64) -> Tried<Self> {
        sweep();
        let prefix = format!("{PREFIX}{}-", process::id());
        let wire = (delay_ms > 0).then(|| Wire::new(Duration::from_millis(delay_ms)));
        let congestion = congestion.to_owned();
        let mut net = Self { prefix, congestion, names: Vec::new(), hosts: 0, wire };
        if net.wire.is_some() {
            return Ok(net);
        }
        let hub = net.space("hub")?;
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "br0", "up"])?;
        Ok(net)
    }

    /// One more host; what it sends is held to `uplink` bit/s, unless that is `None`.
    pub(crate) fn host(&mut self, name: &str, uplink: Option<u64>) -> Tried<Arc<Host>> {
        if self.hosts == HOSTS_MAX {
            return Err(Fault::new(format!("a network has at most {HOSTS_MAX} hosts")));
        }
        let space = self.space(name)?;
        let port = format!("p{}", self.hosts);
        self.hosts += 1;
        let last = u8::try_from(self.hosts).map_err(|_| Fault::new("too many hosts"))?;
        let address = Ipv4Addr::new(10, 78, 0, last);
        self.connect(&space, &port)?;
        ip(&["-n", &space, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(&["-n", &space, "link", "set", "eth0", "up"])?;
        if let Some(rate) = uplink {
            shape(&space, rate)?;
        }
        let space = open(&space)?;
        Ok(Arc::new(Host { name: name.to_owned(), ip: address, space }))
    }

    /// Gives a namespace an interface `eth0` and joins its other end to the others: by cable to `port` of the bridge, or to what
    /// delays.
    fn connect(&self, space: &str, port: &str) -> Tried<()> {
        if let Some(wire) = &self.wire {
            wire.add(inside(&open(space)?, || Tap::open("eth0"))??);
            return Ok(());
        }
        let hub = format!("{}hub", self.prefix);
        ip(&[
            "-n", &hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space,
        ])?;
        ip(&["-n", &hub, "link", "set", port, "master", "br0", "up"])
    }

    /// Fails when frames were lost where none may be: then this machine was too slow for what was measured.
    pub(crate) fn check(&self) -> Tried<()> {
        match self.wire.as_ref().map_or(0, Wire::lost) {
            0 => Ok(()),
            lost => Err(Fault::new(format!(
                "{lost} frames were lost where delay is made: this machine is too busy"
            ))),
        }
    }

    /// A namespace with a loopback interface and our settings; its full name.
    fn space(&mut self, name: &str) -> Tried<String> {
        let full = format!("{}{name}", self.prefix);
        ip(&["netns", "add", &full])?;
        self.names.push(full.clone());
        let settings = [
            ("net/ipv6/conf/all/disable_ipv6", "1"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
            ("net/ipv4/tcp_congestion_control", self.congestion.as_str()),
        ];
        inside(&open(&full)?, || {
            settings.iter().try_for_each(|(key, value)| {
                let path = Path::new("/proc/sys").join(key);
                // A kernel without IPv6 has nothing to switch off.
                if key.contains("ipv6") && !path.exists() {
                    return Ok(());
                }
                fs::write(&path, value).doing(format_args!("set {key} to {value}"))
            })
        })??;
        ip(&["-n", &full, "link", "set", "lo", "up"])?;
        Ok(full)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in self.names.iter().rev() {
            remove(name);
        }
    }
}

impl Host {
    /// Starts a program on this host.
    pub(crate) fn spawn(&self, command: &mut Command) -> Tried<Child> {
        // A child is born into the namespace of the thread that makes it.
        inside(&self.space, || command.spawn().doing(format_args!("start {command:?}")))?
    }

    /// Does something on a thread that belongs to this host: sockets made there stay on it.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Tried<T> {
        inside(&self.space, work)
    }

    /// What its interface counted so far. `/proc/net/dev` and `/sys/class/net` show the same counters; the former is that
    /// of the reading thread's namespace without a mount.
    pub(crate) fn counters(&self) -> Tried<Counters> {
        let text = inside(&self.space, || fs::read_to_string("/proc/thread-self/net/dev"))?
            .doing("read the counters of an interface")?;
        Counters::parse(&text, "eth0")
            .ok_or_else(|| Fault::new(format!("{} has no counters of eth0", self.name)))
    }
}

/// A namespace by its full name.
fn open(name: &str) -> Tried<File> {
    File::open(Path::new(NAMES).join(name)).doing("open a namespace")
}

/// Runs `work` on a thread of its own inside a network namespace.
fn inside<T: Send>(space: &File, work: impl FnOnce() -> T + Send) -> Tried<T> {
    thread::scope(|scope| {
        let joined = scope
            .spawn(|| {
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(std::io::Error::from)
                    .doing("enter a network namespace")?;
                Ok(work())
            })
            .join();
        joined.unwrap_or_else(|_| Err(Fault::new("a thread of the laboratory panicked")))
    })
}

/// Holds what leaves a namespace's `eth0` to `rate` bit/s, counted in Ethernet frames.
fn shape(space: &str, rate: u64) -> Tried<()> {
    // Ten milliseconds of the rate: enough for the kernel's timers, too little to matter in a transfer of seconds.
    let burst = (rate / 8 / 100).max(BURST_MIN);
    let (burst, latency) = (format!("{burst}b"), format!("{QUEUE_MS}ms"));
    // A peak rate brings a largest packet with it, to which larger ones are cut; the peak itself is out of the way.
    let (rate, peak) = (format!("{rate}bit"), format!("{}bit", rate * 100));
    let tbf = ["tbf", "rate", &rate, "burst", &burst, "latency", &latency];
    let cut = ["peakrate", &peak, "mtu", PACKET_MAX];
    let words = ["-n", space, "qdisc", "replace", "dev", "eth0", "root"];
    run("tc", &[&words[..], &tbf, &cut].concat())
}

/// Removes what laboratories left behind that were killed outright: names whose process is gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(NAMES) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let dead = owner
            .is_some_and(|id| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists());
        if dead {
            remove(&name);
        }
    }
}

/// Ends the processes inside a namespace of ours, then deletes its name. Called while cleaning up: what fails is passed by.
fn remove(name: &str) {
    if let Ok(listed) = Command::new("ip").args(["netns", "pids", name]).output() {
        for id in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            if let Some(id) = id.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
        }
    }
    let _ = ip(&["netns", "del", name]);
}

fn ip(arguments: &[&str]) -> Tried<()> {
    run("ip", arguments)
}

/// Runs a program of iproute2; its complaint is the fault.
fn run(program: &str, arguments: &[&str]) -> Tried<()> {
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .doing(format_args!("run {program} (Debian package iproute2)"))?;
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    Err(Fault::new(format!("{program} {}: {}", arguments.join(" "), words.trim())))
}

#[cfg(test)]
mod tests {
    use super::Counters;

    const DEV: &str = "Inter-|   Receive  |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       1       2    0    0    0     0          0         0        3       4    0    0    0     0       0          0
  eth0: 15140 10    0    0    0     0          0         0     700       7    0    0    0     0       0          0
";

    #[test]
    fn counters_are_those_of_the_named_interface() {
        let found = Counters::parse(DEV, "eth0").expect("a line");
        let expected = Counters { rx_bytes: 15_140, rx_frames: 10, tx_bytes: 700, tx_frames: 7 };
        assert_eq!(found, expected);
        assert_eq!(found.rx_ip_bytes(), 15_000);
        assert_eq!(Counters::parse(DEV, "eth1"), None);
    }

    #[test]
    fn a_difference_of_counters_is_what_came_in_between() {
        let early = Counters { rx_bytes: 1, rx_frames: 1, tx_bytes: 10, tx_frames: 2 };
        let late = Counters { rx_bytes: 4, rx_frames: 3, tx_bytes: 10, tx_frames: 2 };
        let expected = Counters { rx_bytes: 3, rx_frames: 2, tx_bytes: 0, tx_frames: 0 };
        assert_eq!(late.since(early), expected);
    }
}
