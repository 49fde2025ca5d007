//! Payloads, read again as the standards tell receivers to.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Payloader, base64};
use crate::demux::Frame;
use crate::{Coding, Format};

fn coding(format: Format, record: &[u8]) -> Coding {
    Coding { format, record: record.to_vec(), rate: 48_000, channels: 2 }
}

/// An H.264 record with one set of each kind, lengths of four bytes.
const AVC: &[u8] = &[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 3];

fn frame(data: &[u8], is_key: bool) -> Frame {
    Frame {
        stream: 0,
        decoded: 0,
        shown: 0,
        duration: 0,
        is_key,
        data: Bytes::copy_from_slice(data),
    }
}

fn packets(coding: &Coding, frame: &Frame, most: usize) -> Vec<(Vec<u8>, bool)> {
    let mut packets = Vec::new();
    Payloader::new(coding).unwrap().cut(frame, most, |it| {
        packets.push(([it.head, it.body].concat(), it.marker));
    });
    packets
}

fn behind_lengths(units: &[Vec<u8>]) -> Vec<u8> {
    units.iter().flat_map(|it| [&(it.len() as u32).to_be_bytes()[..], it].concat()).collect()
}

/// RFC 6184, 5.6 and 5.8: the NAL units that packets carry.
fn avc_units(packets: &[(Vec<u8>, bool)]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for (packet, _) in packets {
        match packet[0] & 0x1f {
            28 => {
                if packet[1] & 0x80 != 0 {
                    units.push(vec![packet[0] & 0xe0 | packet[1] & 0x1f]);
                }
                units.last_mut().unwrap().extend_from_slice(&packet[2..]);
            }
            _ => units.push(packet.clone()),
        }
    }
    units
}

#[test]
fn the_description_of_h264_names_its_parameter_sets() {
    let encoding = Payloader::new(&coding(Format::H264, AVC)).unwrap().encoding();
    assert_eq!(encoding.map, "H264/90000");
    let expected = "packetization-mode=1;profile-level-id=64001f;sprop-parameter-sets=ZwEC,aAM=";
    assert_eq!(encoding.parameters, expected);
    assert!(Payloader::new(&coding(Format::H264, &AVC[..9])).is_none());
}

#[test]
fn parameter_sets_go_before_each_key_frame() {
    let unit = vec![0x65, 9, 9];
    let found = packets(
        &coding(Format::H264, AVC),
        &frame(&behind_lengths(std::slice::from_ref(&unit)), true),
        1400,
    );
    let expected = [(vec![0x67, 1, 2], false), (vec![0x68, 3], false), (unit, true)];
    assert_eq!(found, expected);
}

#[test]
fn letters_of_base64() {
    for (data, text) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
    {
        assert_eq!(base64(data.as_bytes()), text);
    }
}

#[test]
fn slices_of_mpeg_pictures_are_cut_only_where_they_do_not_fit() {
    let slice = |number: u8, length: usize| [&[0, 0, 1, number][..], &vec![0x55; length]].concat();
    let head = [0, 0, 1, 0xb3, 1, 2, 3, 4, 0, 0, 1, 0, 0x12, 0x8a, 0, 0, 0, 0];
    let data = [&head[..], &slice(1, 40), &slice(2, 40), &slice(3, 300)].concat();
    let found = packets(&coding(Format::Mpeg2, &[]), &frame(&data, true), 100);
    let bodies: Vec<u8> = found.iter().flat_map(|(packet, _)| packet[4..].to_vec()).collect();
    assert_eq!(bodies, data);
    // Number 74, a picture that stands alone, the sequence's header in the first packet.
    assert_eq!(found[0].0[..4], [0, 74, 0b0011_1001, 0]);
    assert_eq!(found[1].0[4..8], [0, 0, 1, 2]);
    assert_eq!(found.iter().filter(|(_, marker)| *marker).count(), 1);
}

/// An AV1 record of profile 1, level 8, upper tier, with the header of a sequence.
const AV1: &[u8] = &[0x81, 0x28, 0x80, 0, 0x0a, 3, 7, 8, 9];

/// The OBUs that packets carry, each without a length.
fn obus(packets: &[(Vec<u8>, bool)]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for (packet, _) in packets {
        assert_eq!(packet[0] & 0x30, 0x10, "one OBU, which needs no length");
        assert_eq!(packet[0] & 0x80 != 0, is_open);
        if !is_open {
            units.push(Vec::new());
        }
        units.last_mut().unwrap().extend_from_slice(&packet[1..]);
        is_open = packet[0] & 0x40 != 0;
    }
    assert!(!is_open);
    units
}

#[test]
fn obus_lose_their_lengths_and_key_frames_have_the_header_of_their_sequence() {
    let coding = coding(Format::Av1, AV1);
    let encoding = Payloader::new(&coding).unwrap().encoding();
    assert_eq!(encoding.parameters, "profile=1;level-idx=8;tier=1");
    // A delimiter, a frame with an extension, padding, and one that needs no length because it is the last.
    let picture =
        [&[0x12, 0, 0x36, 0x28, 200, 1][..], &[5; 200], &[0x7a, 1, 0, 0x30, 6, 7]].concat();
    let found = packets(&coding, &frame(&picture, true), 100);
    let units = [vec![0x08, 7, 8, 9], [&[0x34, 0x28][..], &[5; 200]].concat(), vec![0x30, 6, 7]];
    assert_eq!(obus(&found), units);
    assert_eq!(found[0].0[0], 0x18, "a sequence begins");
    assert!(found[1..].iter().all(|(packet, _)| packet[0] & 0x08 == 0));
    assert!(found.iter().map(|it| it.1).eq([false, false, false, false, true]));
    // Its own header is taken where it has one; others get none.
    let own = [0x0a, 1, 1, 0x32, 1, 2];
    let expected = |units: &[&[u8]]| units.iter().map(|it| it.to_vec()).collect::<Vec<_>>();
    let key = obus(&packets(&coding, &frame(&own, true), 100));
    assert_eq!(key, expected(&[&[0x08, 1], &[0x30, 2]]));
    let other = obus(&packets(&coding, &frame(&own[3..], false), 100));
    assert_eq!(other, expected(&[&[0x30, 2]]));
    assert!(packets(&coding, &frame(&[0x32, 0xff, 0xff], false), 100).is_empty());
}

proptest! {
    #[test]
    fn nal_units_arrive_as_they_were(
        units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 1..6),
        most in 64usize..300,
    ) {
        // Types below 24 are NAL units, 9 delimits.
        let units: Vec<Vec<u8>> = units
            .into_iter()
            .map(|mut unit| { unit[0] = unit[0] & 0x60 | 1; unit })
            .collect();
        let found = packets(&coding(Format::H264, AVC), &frame(&behind_lengths(&units), false), most);
        prop_assert!(found.iter().all(|(packet, _)| packet.len() <= most));
        prop_assert_eq!(avc_units(&found), units);
        let markers: Vec<bool> = found.iter().map(|(_, marker)| *marker).collect();
        prop_assert_eq!(markers.iter().rposition(|it| *it), Some(markers.len() - 1));
        prop_assert_eq!(markers.iter().filter(|it| **it).count(), 1);
    }

    #[test]
    fn no_frame_panics_and_no_packet_is_too_long(
        data in prop::collection::vec(any::<u8>(), 0..5000),
        is_key: bool,
        most in 0usize..1500,
        which in 0usize..10,
    ) {
        let (format, record) = [
            (Format::H264, AVC),
            (Format::H265, &[1; 60][..]),
            (Format::Vp8, &[]),
            (Format::Vp9, &[]),
            (Format::Mpeg2, &[]),
            (Format::Aac, &[0x11, 0x90]),
            (Format::MpegAudio, &[]),
            (Format::Ac3, &[]),
            (Format::TransportStream, &[]),
            (Format::Av1, AV1),
        ][which];
        let coding = coding(format, record);
        if Payloader::new(&coding).is_some() {
            let limit = most.max(64);
            let found = packets(&coding, &frame(&data, is_key), most);
            let is_ts = format == Format::TransportStream;
            prop_assert!(is_ts || found.iter().all(|(packet, _)| packet.len() <= limit));
        }
    }

    #[test]
    fn sound_arrives_as_it_was(data in prop::collection::vec(any::<u8>(), 1..3000), most in 64usize..1500) {
        for (format, head) in [(Format::Aac, 4), (Format::MpegAudio, 4), (Format::Ac3, 2), (Format::Vp8, 1)] {
            let found = packets(&coding(format, &[0x11, 0x90]), &frame(&data, true), most);
            let bodies: Vec<u8> =
                found.iter().flat_map(|(packet, _)| packet[head..].to_vec()).collect();
            prop_assert_eq!(&bodies, &data);
        }
        let found = packets(&coding(Format::Aac, &[0x11, 0x90]), &frame(&data, true), most);
        let told = u16::from_be_bytes([found[0].0[2], found[0].0[3]]) >> 3;
        prop_assert_eq!(usize::from(told), data.len());
    }
}
