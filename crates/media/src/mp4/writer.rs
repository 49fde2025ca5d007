//! Writing boxes of ISO base media (ISO/IEC 14496-12, 4.2).

/// Writes boxes.
#[derive(Default)]
pub(crate) struct Writer {
    /// What was written.
    pub(crate) data: Vec<u8>,
}

impl Writer {
    /// These bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }
    /// `count` bytes of zero.
    pub(crate) fn zeros(&mut self, count: usize) {
        self.data.resize(self.data.len() + count, 0);
    }
    /// One byte.
    pub(crate) fn u8(&mut self, value: u8) {
        self.data.push(value);
    }
    /// Two bytes.
    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }
    /// Four bytes.
    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }
    /// Eight bytes.
    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }
    /// The picture as it is: neither turned nor scaled.
    pub(crate) fn matrix(&mut self) {
        for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
            self.u32(value);
        }
    }
    /// A box. None of ours comes near four gigabytes.
    pub(crate) fn boxed(&mut self, name: &[u8; 4], body: impl FnOnce(&mut Self)) {
        let start = self.data.len();
        self.u32(0);
        self.bytes(name);
        body(self);
        let length = u32::try_from(self.data.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.data.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
    /// A box with a version and flags.
    pub(crate) fn full(
        &mut self,
        name: &[u8; 4],
        version: u8,
        flags: u32,
        body: impl FnOnce(&mut Self),
    ) {
        self.boxed(name, |out| {
            out.u32(u32::from(version) << 24 | flags);
            body(out);
        });
    }
}
