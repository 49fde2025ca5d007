//! Files to hand around: bytes that no compression and no holes can shorten, and films of an exact rate.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fault::{Doing, Fault, Tried};

/// How far the length of a film may be from its rate times its duration, as a share.
const RATE_OFF_MAX: f64 = 0.05;

/// A sequence of 64-bit numbers that looks random: SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in [0, 1).
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Writes a file of `length` bytes that depend on the seed alone.
pub(crate) fn random(path: &Path, length: u64, seed: u64) -> Tried<PathBuf> {
    let mut numbers = Numbers::new(seed);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).doing("make a folder")?;
    }
    let mut file = File::create(path).doing("write a file")?;
    file.write_all(&bytes).doing("write a file")?;
    Ok(path.to_owned())
}

/// An MP4 of `seconds` at a constant `rate` bit/s, index in front, key frames every two seconds; made once with ffmpeg and
/// kept in `folder`. The picture is small and noisy, and the encoder fills up what it does not need, so the rate is exact to
/// a few percent at every place.
pub(crate) fn film(folder: &Path, rate: u64, seconds: u32) -> Tried<PathBuf> {
    let path = folder.join(format!("film-{rate}-{seconds}s.mp4"));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(folder).doing("make a folder")?;
    let part = folder.join(format!("part-{}-{rate}-{seconds}s.mp4", std::process::id()));
    let picture = format!("testsrc2=size=320x180:rate=25:duration={seconds}");
    let (bits, filter) = (rate.to_string(), "noise=alls=40:allf=t");
    let done = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &picture, "-vf", filter])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50"])
        .args(["-keyint_min", "50", "-sc_threshold", "0", "-b:v", &bits, "-minrate", &bits])
        .args(["-maxrate", &bits, "-bufsize", &bits, "-x264-params", "nal-hrd=cbr:force-cfr=1"])
        .args(["-movflags", "+faststart", "-y"])
        .arg(&part)
        .stdin(Stdio::null())
        .output()
        .doing("run ffmpeg (Debian package ffmpeg)")?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        return Err(Fault::new(format!("ffmpeg made no film: {}", words.trim())));
    }
    let length = fs::metadata(&part).doing("look at the film")?.len() as f64;
    let wanted = rate as f64 / 8.0 * f64::from(seconds);
    if (length / wanted - 1.0).abs() > RATE_OFF_MAX {
        return Err(Fault::new(format!("ffmpeg made a film of {length} bytes, not {wanted}")));
    }
    fs::rename(&part, &path).doing("keep the film")?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let mut numbers = Numbers::new(1_234_567);
        assert_eq!(numbers.next(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.next(), 3_203_168_211_198_807_973);
        assert!((0.0..1.0).contains(&numbers.share()));
    }
}
