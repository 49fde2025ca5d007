//! A stream on its way to a player: RTP packets of its frames (RFC 3550), reports, and the way that they take.

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rtcp_types::{
    Bye, Compound, Packet, RtcpPacketWriterExt as _, Sdes, SdesChunk, SdesItem, SenderReport,
};
use shoal_media::demux::Frame;
use shoal_media::rtp::Payloader;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::limits::{PORT_TRIES_MAX, REPORT_BYTES_MAX, RTP_BYTES_MAX};

/// Bytes of RTP's header without extensions.
const HEADER: usize = 12;
/// Bytes before a packet inside a connection (RFC 2326, 10.12).
const FRAMING: usize = 4;
/// Seconds between the epochs of NTP and Unix.
const NTP_EPOCH_S: u64 = 2_208_988_800;
/// The name under which all streams of a session belong together (RFC 3550, 6.5.1); it says nothing of the machine.
const NAME: &str = "shoal";

/// How packets reach the player.
#[derive(Debug)]
pub(super) enum Way {
    /// Inside its connection: on this channel, and reports on the next.
    Tcp { channel: u8, packets: mpsc::Sender<Vec<u8>> },
    /// To its address.
    Udp { rtp: UdpSocket, rtcp: UdpSocket },
}

impl Way {
    /// From `from`, to two ports of `to`. Our own ports are an even one and the next.
    pub(super) async fn udp(from: IpAddr, to: IpAddr, ports: (u16, u16)) -> io::Result<Self> {
        for _ in 0..PORT_TRIES_MAX {
            let rtp = UdpSocket::bind((from, 0)).await?;
            let port = rtp.local_addr()?.port();
            if !port.is_multiple_of(2) {
                continue;
            }
            let Ok(rtcp) = UdpSocket::bind((from, port + 1)).await else { continue };
            rtp.connect(SocketAddr::new(to, ports.0)).await?;
            rtcp.connect(SocketAddr::new(to, ports.1)).await?;
            return Ok(Self::Udp { rtp, rtcp });
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
    /// Our own ports, outside a connection.
    pub(super) fn ports(&self) -> Option<(u16, u16)> {
        let Self::Udp { rtp, rtcp } = self else { return None };
        let port = |socket: &UdpSocket| socket.local_addr().ok().map(|it| it.port());
        port(rtp).zip(port(rtcp))
    }
    /// Whether the player is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Tcp { packets, .. } if packets.is_closed())
    }
}

/// A packet to send.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Which lane it is of.
    pub(super) lane: usize,
    /// The packet, behind room for its framing inside a connection.
    bytes: Vec<u8>,
    is_report: bool,
}

impl Outgoing {
    /// Whether it is a packet of that lane that has a number.
    pub(super) fn is_numbered_of(&self, lane: usize) -> bool {
        self.lane == lane && !self.is_report
    }
}

/// What came of sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It left.
    Gone,
    /// The player's machine says that nobody listens.
    Refused,
    /// The player is gone.
    Closed,
}

/// What a player reports of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Heard {
    /// Packets that did not arrive, in all.
    pub(super) lost: u32,
}

/// A stream on its way.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its place in the film.
    pub(super) stream: usize,
    pub(super) payloader: Payloader,
    payload_type: u8,
    /// Units of RTP's time stamps in a second.
    pub(super) clock: u32,
    timescale: u32,
    pub(super) ssrc: u32,
    /// Number of the next packet.
    pub(super) sequence: u16,
    /// Time stamp of the film's time `zero_us`.
    stamp: u32,
    zero_us: u64,
    /// And the time of the session then.
    session_us: u64,
    /// A random start of time stamps.
    first_stamp: u32,
    packets: u32,
    bytes: u32,
    pub(super) way: Way,
}

impl Lane {
    /// A lane that has sent nothing. `random` are 64 bits that nobody can guess.
    pub(super) fn new(
        (stream, timescale): (usize, u32),
        (payloader, payload_type): (Payloader, u8),
        way: Way,
        random: (u64, u16),
    ) -> Self {
        let first_stamp = (random.0 >> 32) as u32;
        let clock = payloader.encoding().clock;
        Self {
            stream,
            payloader,
            payload_type,
            clock,
            timescale,
            ssrc: random.0 as u32,
            sequence: random.1,
            stamp: first_stamp,
            zero_us: 0,
            session_us: 0,
            first_stamp,
            packets: 0,
            bytes: 0,
            way,
        }
    }
    /// From now on time `zero_us` of the film has the time stamp of `session_us` since the session began.
    pub(super) fn begin(&mut self, zero_us: u64, session_us: u64) {
        (self.zero_us, self.session_us) = (zero_us, session_us);
        self.stamp = self.first_stamp.wrapping_add(units(session_us, 1_000_000, self.clock));
    }
    /// The time stamp of a time of the film.
    pub(super) fn stamp_at(&self, film_us: u64) -> u32 {
        self.stamp.wrapping_add(units(film_us, 1_000_000, self.clock)).wrapping_sub(units(
            self.zero_us,
            1_000_000,
            self.clock,
        ))
    }
    /// When a frame is decoded, in microseconds of the film.
    pub(super) fn decoded_us(&self, frame: &Frame) -> u64 {
        to_us(frame.decoded, self.timescale)
    }
    /// When a frame is shown, in microseconds of the film.
    pub(super) fn shown_us(&self, frame: &Frame) -> u64 {
        to_us(frame.shown, self.timescale)
    }
    /// The packets of a frame, which are numbered here.
    pub(super) fn cut(&mut self, frame: &Frame, lane: usize, packet: &mut impl FnMut(Outgoing)) {
        let stamp = self
            .stamp
            .wrapping_add(units(frame.shown, self.timescale, self.clock))
            .wrapping_sub(units(self.zero_us, 1_000_000, self.clock));
        let (payload_type, ssrc) = (self.payload_type, self.ssrc);
        let (sequence, packets, bytes) = (&mut self.sequence, &mut self.packets, &mut self.bytes);
        self.payloader.cut(frame, RTP_BYTES_MAX - HEADER, |payload| {
            let length = payload.head.len() + payload.body.len();
            let mut data = Vec::with_capacity(FRAMING + HEADER + length);
            data.extend_from_slice(&[0; FRAMING]);
            // Version 2, no padding, no extension, no further sources.
            data.push(0x80);
            data.push(payload_type | u8::from(payload.marker) << 7);
            data.extend_from_slice(&sequence.to_be_bytes());
            data.extend_from_slice(&stamp.to_be_bytes());
            data.extend_from_slice(&ssrc.to_be_bytes());
            data.extend_from_slice(payload.head);
            data.extend_from_slice(payload.body);
            *sequence = sequence.wrapping_add(1);
            *packets = packets.wrapping_add(1);
            *bytes = bytes.wrapping_add(u32::try_from(length).unwrap_or(u32::MAX));
            packet(Outgoing { lane, bytes: data, is_report: false });
        });
    }
    /// A sender's report at `film_us`, and the lane's name; and that it ends, where it does. `born` is when the session began.
    ///
    /// Its clock is the session's: where the film waits for bytes or for the player, it waits too (RFC 3550, 6.4.1, allows elapsed time). By
    /// a clock on the wall players would take each wait for a part of the film.
    pub(super) fn report(
        &self,
        lane: usize,
        born: SystemTime,
        film_us: u64,
        ends: bool,
    ) -> Option<Outgoing> {
        let session_us = self.session_us.saturating_add(film_us).saturating_sub(self.zero_us);
        let now = born.checked_add(Duration::from_micros(session_us))?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let seconds = now.as_secs().wrapping_add(NTP_EPOCH_S) & u64::from(u32::MAX);
        let report = SenderReport::builder(self.ssrc)
            .ntp_timestamp(seconds << 32 | fraction)
            .rtp_timestamp(self.stamp_at(film_us))
            .packet_count(self.packets)
            .octet_count(self.bytes);
        let name = SdesItem::builder(SdesItem::CNAME, NAME);
        let name = Sdes::builder().add_chunk(SdesChunk::builder(self.ssrc).add_item(name));
        let mut compound = Compound::builder().add_packet(report).add_packet(name);
        if ends {
            compound = compound.add_packet(Bye::builder().add_source(self.ssrc));
        }
        let mut bytes = vec![0; FRAMING + REPORT_BYTES_MAX];
        let length = compound.write_into(bytes.get_mut(FRAMING..)?).ok()?;
        bytes.truncate(FRAMING + length);
        Some(Outgoing { lane, bytes, is_report: true })
    }
    /// Sends a packet, as soon as there is room. Abandoning the future sends nothing.
    pub(super) async fn send(&self, packet: &mut Outgoing) -> Sent {
        match &self.way {
            Way::Tcp { channel, packets } => {
                let Ok(permit) = packets.reserve().await else { return Sent::Closed };
                let mut bytes = core::mem::take(&mut packet.bytes);
                let length = u16::try_from(bytes.len() - FRAMING).unwrap_or(u16::MAX);
                let [high, low] = length.to_be_bytes();
                let framing = [b'$', channel + u8::from(packet.is_report), high, low];
                if let Some(place) = bytes.get_mut(..FRAMING) {
                    place.copy_from_slice(&framing);
                }
                permit.send(bytes);
                Sent::Gone
            }
            Way::Udp { rtp, rtcp } => {
                let socket = if packet.is_report { rtcp } else { rtp };
                match socket.send(packet.bytes.get(FRAMING..).unwrap_or(&[])).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        // Players need not listen for reports.
                        if packet.is_report { Sent::Gone } else { Sent::Refused }
                    }
                    // A packet that the system has no room for is one that the network lost.
                    _ => Sent::Gone,
                }
            }
        }
    }
    /// What came from the player outside a connection since it was asked last; `None` for nothing.
    pub(super) fn hear(&self) -> Option<Heard> {
        let Way::Udp { rtp, rtcp } = &self.way else { return None };
        let mut heard: Option<Heard> = None;
        let mut bytes = [0; REPORT_BYTES_MAX];
        // Bounded by what a socket's buffer holds. Errors say that nobody listens, which sending hears too.
        while rtp.try_recv(&mut bytes).is_ok() {
            heard.get_or_insert_default();
        }
        while let Ok(length) = rtcp.try_recv(&mut bytes) {
            let found = self.read(bytes.get(..length).unwrap_or(&[]));
            heard = Some(found.or(heard).unwrap_or_default());
        }
        heard
    }
    /// What a receiver's report says of this lane.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Heard> {
        lost(bytes, self.ssrc).map(|lost| Heard { lost })
    }
}

/// How many packets of a source are missing, by the last receiver's report on it among these packets of RTCP.
pub(super) fn lost(bytes: &[u8], ssrc: u32) -> Option<u32> {
    let packets = Compound::parse(bytes).ok()?.flatten();
    let reports = packets.filter_map(|packet| match packet {
        Packet::Rr(report) => {
            let mut blocks = report.report_blocks();
            blocks.find(|block| block.ssrc() == ssrc).map(|block| block.cumulative_lost())
        }
        _ => None,
    });
    reports.last()
}

/// `time` in units of `from` a second as units of `to` a second, of which the lower 32 bits count.
fn units(time: u64, from: u32, to: u32) -> u32 {
    (u128::from(time) * u128::from(to) / u128::from(from.max(1))) as u32
}

fn to_us(time: u64, timescale: u32) -> u64 {
    let us = u128::from(time) * 1_000_000 / u128::from(timescale.max(1));
    u64::try_from(us).unwrap_or(u64::MAX)
}
