//! Chains of clusters: the table says for each cluster which one follows.

use super::super::DiskError;
use super::{FIRST_CLUSTER, Fat, Kind};

const TABLE: &str = "the table of FAT";
const CONTENT: &str = "the contents of a file";
/// Bytes of the table that are read at once.
const WINDOW_BYTES: u64 = 4096;

/// Clusters in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    /// The first one's offset in bytes.
    offset: u64,
    /// Their length in bytes.
    length: u64,
}

/// A walk along a chain.
#[derive(Debug)]
struct Chain<'a> {
    fat: &'a Fat,
    /// The next cluster; `None` at the end.
    next: Option<u64>,
    /// The number of clusters that may still come: a longer chain is a circle.
    left: u64,
    /// A part of the table: its offset in the table, and its bytes.
    window: (u64, Vec<u8>),
}

impl Chain<'_> {
    /// Takes the next clusters in a row, of at most `length` bytes.
    fn row(&mut self, length: u64) -> Result<Option<Row>, DiskError> {
        let Some(first) = self.next else { return Ok(None) };
        let fat = self.fat;
        let offset = fat.data + (first - FIRST_CLUSTER) * fat.cluster_bytes;
        let (mut last, mut taken) = (first, 0);
        loop {
            taken += fat.cluster_bytes;
            self.next = self.behind(last)?;
            self.left = match self.left.checked_sub(1) {
                Some(left) => left,
                None => return Err(fat.area.damaged(TABLE, fat.table.0, "a chain of clusters is a circle")),
            };
            if self.next != Some(last + 1) || taken >= length {
                return Ok(Some(Row { offset, length: taken }));
            }
            last += 1;
        }
    }

    /// Reads which cluster follows `cluster`.
    fn behind(&mut self, cluster: u64) -> Result<Option<u64>, DiskError> {
        let fat = self.fat;
        let value = match fat.kind {
            Kind::Fat12 => {
                let pair = u16::from_le_bytes(self.entry(cluster + cluster / 2)?);
                u64::from(if cluster.is_multiple_of(2) {
                    pair & 0xfff
                } else {
                    pair >> 4
                })
            }
            Kind::Fat16 => u64::from(u16::from_le_bytes(self.entry(cluster * 2)?)),
            Kind::Fat32 => u64::from(u32::from_le_bytes(self.entry(cluster * 4)?) & 0x0fff_ffff),
        };
        let end = match fat.kind {
            Kind::Fat12 => 0xff8,
            Kind::Fat16 => 0xfff8,
            Kind::Fat32 => 0x0fff_fff8,
        };
        match value {
            value if value >= end => Ok(None),
            value => fat.checked(value).map(Some),
        }
    }

    /// Reads the bytes of an entry at `offset` in the table.
    fn entry<const N: usize>(&mut self, offset: u64) -> Result<[u8; N], DiskError> {
        let fat = self.fat;
        let found = |window: &(u64, Vec<u8>)| {
            let at = offset.checked_sub(window.0)?;
            let bytes: &[u8; N] = window.1.get(at as usize..)?.first_chunk()?;
            Some(*bytes)
        };
        if let Some(bytes) = found(&self.window) {
            return Ok(bytes);
        }
        let length = WINDOW_BYTES.min(fat.table.1.saturating_sub(offset));
        self.window = (offset, fat.area.bytes(TABLE, fat.table.0 + offset, length as usize)?);
        found(&self.window).ok_or_else(|| fat.area.damaged(TABLE, fat.table.0 + offset, "it is cut short"))
    }
}

impl Fat {
    /// Refuses the number of a cluster that does not exist.
    fn checked(&self, cluster: u64) -> Result<u64, DiskError> {
        match (FIRST_CLUSTER..self.clusters + FIRST_CLUSTER).contains(&cluster) {
            true => Ok(cluster),
            false => Err(self
                .area
                .damaged(TABLE, self.table.0, format!("there is no cluster {cluster}"))),
        }
    }

    fn chain(&self, first: u64) -> Result<Chain<'_>, DiskError> {
        Ok(Chain {
            fat: self,
            next: Some(self.checked(first)?),
            left: self.clusters,
            window: (0, Vec::new()),
        })
    }

    /// Fills `buffer` from `offset` of the chain that begins with the cluster `first`.
    pub(super) fn read_chain(&self, first: u64, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let mut chain = self.chain(first)?;
        let (mut at, mut done) = (0, 0);
        let end = offset + buffer.len() as u64;
        while done < buffer.len() {
            let Some(row) = chain.row(end - at)? else {
                return Err(self
                    .area
                    .damaged(TABLE, self.table.0, "a file has fewer clusters than its size says"));
            };
            let behind = at + row.length;
            let from = offset + done as u64;
            if from < behind {
                let within = from - at;
                let count = (row.length - within).min((buffer.len() - done) as u64) as usize;
                self.area
                    .read(CONTENT, row.offset + within, &mut buffer[done..done + count])?;
                done += count;
            }
            at = behind;
        }
        Ok(())
    }

    /// Returns the ranges of the chain that begins with the cluster `first`, each with its offset and length in bytes.
    /// Their sum is at most `most` bytes, otherwise the chain is damaged.
    pub(super) fn ranges(&self, first: u64, most: u64) -> Result<Vec<(u64, u64)>, DiskError> {
        let mut chain = self.chain(first)?;
        let (mut ranges, mut total) = (Vec::new(), 0);
        while let Some(row) = chain.row(most)? {
            total += row.length;
            if total > most {
                return Err(self
                    .area
                    .damaged(TABLE, self.table.0, "a directory is larger than 2 MiB"));
            }
            ranges.push((row.offset, row.length));
        }
        Ok(ranges)
    }
}
