//! What players can be given of a film, by its own coding and container.

use shoal_media::mpegts::mux;
use shoal_media::presentation::Stream;
use shoal_media::rtp::Payloader;
use shoal_media::{Presentation, TrackKind};

/// What each face offers of a film, beside its file as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Offers {
    /// HLS with fragmented MP4, or with the parts of a transport stream that cannot be taken apart.
    pub hls: bool,
    /// HLS with transport streams, for players that cannot jump in the other kind.
    pub hls_transport: bool,
    /// DASH with fragmented MP4.
    pub dash: bool,
    /// RTP payload formats of its streams, by RTSP: `H264/90000`.
    pub rtsp: Vec<String>,
}

impl Offers {
    /// Of a film.
    #[must_use]
    pub fn of(film: &Presentation) -> Self {
        let payloads = film.streams().iter().filter_map(|stream| Payloader::new(&stream.coding));
        let rtsp = payloads.map(|payloader| payloader.encoding().map).collect();
        if film.segments().is_empty() {
            return Self { rtsp, ..Self::default() };
        }
        if let Some(transport) = film.transport() {
            let (bare, apart) = (transport.is_bare(), film.apart());
            let hls_transport = bare || apart.is_some_and(|film| !carriable(film).is_empty());
            return Self {
                hls: bare || apart.is_some(),
                hls_transport,
                dash: apart.is_some(),
                rtsp,
            };
        }
        let packaged = film.streams().iter().any(Stream::is_packaged);
        Self { hls: packaged, hls_transport: !carriable(film).is_empty(), dash: packaged, rtsp }
    }
}

/// The streams of a film that a transport stream can carry, with their places: none if its pictures are not among them.
pub(crate) fn carriable(film: &Presentation) -> Vec<(usize, &Stream)> {
    let streams = || film.streams().iter().enumerate();
    let is_video = |(_, stream): &(usize, &Stream)| stream.track.kind == TrackKind::Video;
    // One stream of pictures, at whose key frames the film is cut.
    let video = streams().find(is_video);
    if video.is_some_and(|(_, stream)| !mux::can_carry(stream)) {
        return Vec::new();
    }
    let sound = streams().filter(|it| !is_video(it) && mux::can_carry(it.1));
    video.into_iter().chain(sound).take(mux::STREAMS_MAX).collect()
}
