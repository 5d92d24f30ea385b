//! The figures, and what is wanted of them.

use std::time::Duration;

pub const NATIVE: &str = "native";
pub const KERNEL: &str = "kernel overlayfs";
pub const FUSE: &str = "fuse-overlayfs";
pub const RATARMOUNT: &str = "ratarmount";
pub const UNPACKING: &str = "tar xzf";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Mount,
    List,
    /// Mounting and listing, one after the other.
    MountAndList,
    Find,
    OneFile,
    Tar1,
    Tar2,
    CopyIn,
    CopyUp,
    Remove,
    RemoveBase,
    Create,
}

const COLUMNS: [(Column, &str); 12] = [
    (Column::Mount, "mount"),
    (Column::List, "ls -lR"),
    (Column::MountAndList, "mount+ls"),
    (Column::Find, "find warm"),
    (Column::OneFile, "one file"),
    (Column::Tar1, "tar 1st"),
    (Column::Tar2, "tar 2nd"),
    (Column::CopyIn, "cp -a in"),
    (Column::CopyUp, "copy-up"),
    (Column::Remove, "rm -rf"),
    (Column::RemoveBase, "rm base"),
    (Column::Create, "create 5k"),
];

impl Column {
    pub fn writes(self) -> bool {
        WRITES.contains(&self)
    }
}

const WRITES: [Column; 5] = [
    Column::CopyIn,
    Column::CopyUp,
    Column::Remove,
    Column::RemoveBase,
    Column::Create,
];

/// All figures of a run.
pub struct Table {
    rows: Vec<(&'static str, Vec<Vec<Duration>>)>,
}

impl Table {
    pub fn new(names: impl Iterator<Item = &'static str>) -> Self {
        let row = |name| (name, vec![Vec::new(); COLUMNS.len()]);
        Self {
            rows: names.map(row).collect(),
        }
    }

    pub fn add(&mut self, name: &str, column: Column, time: Duration) {
        let row = self.rows.iter_mut().find(|(row, _)| *row == name).unwrap();
        row.1[position(column)].push(time);
        if column == Column::List {
            let mounting = row.1[position(Column::Mount)].last().copied().unwrap_or_default();
            row.1[position(Column::MountAndList)].push(mounting + time);
        }
    }

    /// The median in milliseconds, or the least.
    fn figure(&self, name: &str, column: Column, least: bool) -> Option<f64> {
        let row = self.rows.iter().find(|(row, _)| *row == name)?;
        let mut sorted = row.1[position(column)].clone();
        sorted.sort();
        let time = if least {
            sorted.first()
        } else {
            sorted.get(sorted.len() / 2)
        };
        Some(time?.as_secs_f64() * 1000.0)
    }

    pub fn print(&self) {
        for least in [false, true] {
            print!("{:20}", if least { "the least" } else { "median" });
            COLUMNS.iter().for_each(|(_, name)| print!("{name:>10}"));
            println!();
            for (name, _) in &self.rows {
                print!("{name:20}");
                for (column, _) in COLUMNS {
                    match self.figure(name, column, least) {
                        Some(time) => print!("{time:10.1}"),
                        None => print!("{:>10}", "-"),
                    }
                }
                println!();
            }
            println!();
        }
        self.print_ratios();
    }

    /// What is wanted, and whether it is so.
    fn print_ratios(&self) {
        println!("{:66}{:>8}{:>8}{:>8}", "ratio", "wanted", "median", "least");
        for name in ["oic read-only, cold", "oic kernel, cold", "oic fuse, cold"] {
            let figures = [false, true].map(|least| self.figure(name, Column::Mount, least));
            line(&format!("{name}: mount, ms"), "<= 10", figures, |time| time <= 10.0);
        }
        for name in ["oic read-only, warm", "oic kernel, warm", "oic fuse, warm"] {
            self.ratio(name, Column::MountAndList, KERNEL, Column::MountAndList, 2.0);
        }
        for name in ["oic read-only, warm", "oic kernel, warm"] {
            self.ratio(name, Column::Tar2, NATIVE, Column::Tar2, 1.3);
        }
        for name in ["oic read-only, cold", "oic kernel, cold", "oic fuse, cold"] {
            self.ratio(name, Column::Tar1, UNPACKING, Column::Tar1, 1.0);
        }
        for column in WRITES {
            self.ratio("oic kernel, warm", column, KERNEL, column, 1.2);
        }
        for column in WRITES {
            let faster = |least| {
                let peer = self.figure(FUSE, column, least)?;
                Some(peer / self.figure("oic fuse, warm", column, least)?)
            };
            let name = format!("oic fuse, warm: {} faster than {FUSE}", label(column));
            line(&name, ">= 3", [false, true].map(faster), |ratio| ratio >= 3.0);
        }
    }

    fn ratio(&self, name: &str, column: Column, other: &str, of: Column, wanted: f64) {
        let ratio = |least| Some(self.figure(name, column, least)? / self.figure(other, of, least)?);
        let label = format!("{name}: {} / {other}", label(column));
        line(&label, &format!("<= {wanted}"), [false, true].map(ratio), |ratio| {
            ratio <= wanted
        });
    }
}

fn line(label: &str, wanted: &str, figures: [Option<f64>; 2], is_reached: impl Fn(f64) -> bool) {
    let [Some(median), Some(least)] = figures else {
        return;
    };
    let verdict = if is_reached(median) { "" } else { "  missed" };
    println!("{label:66}{wanted:>8}{median:8.2}{least:8.2}{verdict}");
}

fn position(column: Column) -> usize {
    COLUMNS.iter().position(|(other, _)| *other == column).unwrap()
}

fn label(column: Column) -> &'static str {
    COLUMNS[position(column)].1
}
