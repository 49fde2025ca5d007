//! The description of a film for players: SDP (RFC 8866, and RFC 2326, appendix C).

use core::fmt::Write as _;
use core::net::IpAddr;

use shoal_media::presentation::Stream;
use shoal_media::rtp::Payloader;
use shoal_media::{Format, Presentation, TrackKind};

/// The first payload type of those that a description names itself (RFC 3551, 6).
const FIRST_TYPE: u8 = 96;

/// A stream of a film that can be sent.
pub(super) struct Offer<'f> {
    /// Its place in the presentation.
    pub(super) number: usize,
    pub(super) stream: &'f Stream,
    pub(super) payloader: Payloader,
    pub(super) payload_type: u8,
}

/// The streams of a film that can be sent: those with a payload format.
pub(super) fn offers(film: &Presentation) -> Vec<Offer<'_>> {
    let mut next = FIRST_TYPE;
    let streams = film.streams().iter().enumerate();
    streams
        .filter_map(|(number, stream)| {
            let payloader = Payloader::new(&stream.coding)?;
            let payload_type = payloader.encoding().payload_type.unwrap_or_else(|| {
                next = next.saturating_add(1).min(127);
                next - 1
            });
            Some(Offer { number, stream, payloader, payload_type })
        })
        .collect()
}

/// The name of a stream behind the film's address.
pub(super) fn control(number: usize) -> String {
    format!("track={number}")
}

/// The description; `None` when nothing of the film can be sent.
pub(super) fn describe(film: &Presentation, name: &str, host: IpAddr) -> Option<String> {
    let offers = offers(film);
    if offers.is_empty() {
        return None;
    }
    let (family, any) = if host.is_ipv4() { ("IP4", "0.0.0.0") } else { ("IP6", "::") };
    let end = match film.duration_ms() {
        0 => String::new(),
        ms => format!("{}.{:03}", ms / 1000, ms % 1000),
    };
    // A name comes from strangers: it must not begin a line of its own.
    let name: String = name.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    let name = if name.is_empty() { "-" } else { &name };
    let mut text = format!(
        "v=0\r\no=- 1 1 IN {family} {host}\r\ns={name}\r\nc=IN {family} {any}\r\nt=0 0\r\na=control:*\r\na=range:npt=0-{end}\r\n",
    );
    for offer in &offers {
        let encoding = offer.payloader.encoding();
        let is_sound = offer.stream.track.kind == TrackKind::Audio;
        let kind = if is_sound { "audio" } else { "video" };
        let payload_type = offer.payload_type;
        // Writing to a text cannot fail, here and below.
        let _ = write!(
            text,
            "m={kind} 0 RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {}\r\n",
            encoding.map
        );
        if !encoding.parameters.is_empty() {
            let _ = write!(text, "a=fmtp:{payload_type} {}\r\n", encoding.parameters);
        }
        if let (Some((width, height)), false) = (offer.stream.track.size, is_sound)
            && offer.stream.coding.format != Format::TransportStream
        {
            let _ = write!(text, "a=framesize:{payload_type} {width}-{height}\r\n");
        }
        if let Some(language) = &offer.stream.track.language {
            let letters = language.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-');
            let _ = write!(text, "a=lang:{}\r\n", letters.collect::<String>());
        }
        let _ = write!(text, "a=control:{}\r\n", control(offer.number));
    }
    Some(text)
}
