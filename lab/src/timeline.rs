//! What each host sent and took second by second: not a figure, but where to look when a figure is bad.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault::Tried;
use crate::net::Host;

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// Samples kept: a quarter of an hour and more.
const SAMPLES_MAX: usize = 2000;

/// Samples of some hosts' counters.
#[derive(Debug)]
pub(crate) struct Timeline {
    hosts: Vec<Arc<Host>>,
    start: Instant,
    samples: Vec<(f64, Vec<[u64; 2]>)>,
}

impl Timeline {
    /// Begins now.
    pub(crate) fn new(hosts: impl IntoIterator<Item = Arc<Host>>) -> Self {
        Self { hosts: hosts.into_iter().collect(), start: Instant::now(), samples: Vec::new() }
    }

    /// Takes a sample when the last is old enough; to be called often.
    pub(crate) fn look(&mut self) -> Tried<()> {
        let due = EVERY * u32::try_from(self.samples.len()).unwrap_or(u32::MAX);
        if self.start.elapsed() < due || self.samples.len() == SAMPLES_MAX {
            return Ok(());
        }
        let counted = self.hosts.iter().map(|host| {
            let counters = host.counters()?;
            Ok([counters.tx_bytes, counters.rx_bytes])
        });
        let counted = counted.collect::<Tried<_>>()?;
        self.samples.push((self.start.elapsed().as_secs_f64(), counted));
        Ok(())
    }

    /// `{"hosts": [..], "at_s": [..], "sent_bytes": [[..] per host], "received_bytes": ..}`, each between two samples.
    pub(crate) fn json(&self) -> Value {
        let names: Vec<_> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        let between = |host: usize, way: usize| {
            let pairs = self.samples.windows(2);
            pairs.map(|pair| pair[1].1[host][way].saturating_sub(pair[0].1[host][way])).collect()
        };
        let all = |way| (0..names.len()).map(|host| between(host, way)).collect::<Vec<Vec<u64>>>();
        let at: Vec<f64> =
            self.samples.iter().skip(1).map(|(at, _)| (at * 1000.0).round() / 1000.0).collect();
        json!({ "hosts": names, "at_s": at, "sent_bytes": all(0), "received_bytes": all(1) })
    }
}
