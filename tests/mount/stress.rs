//! Random work by programs that others wrote, for a bounded time. What hours of it gave is in `docs/semantics.md`.

use std::fs;

use oic::mount::Engine;

use crate::foreign;
use crate::support::{Place, run};

pub const TESTS: &[(&str, fn())] = &[("stress_fsx_finds_the_content_it_wrote", fsx)];

/// Operations per file.
const OPERATIONS: &str = "3000";

/// What fsx(8) of FreeBSD does: reads, writes, mapped ones, truncation, holes, copies; each read is checked.
const CONFIGURATION: &str = r#"
    flen = 262144
    [opsize]
    max = 65536
    [weights]
    close_open = 1
    read = 10
    write = 10
    mapread = 10
    mapwrite = 10
    truncate = 5
    invalidate = 1
    fsync = 1
    fdatasync = 1
    posix_fallocate = 1
    punch_hole = 2
    copy_file_range = 2
    sendfile = 1
"#;

fn fsx() {
    let program = foreign::tool("fsx");
    for engine in [Engine::Kernel, Engine::Fuse] {
        let place = Place::new();
        fs::write(place.path("fsx.toml"), CONFIGURATION).unwrap();
        fs::write(place.base().join("old"), vec![7; 100_000]).unwrap();
        let session = place.mount_by(engine, false).unwrap();
        for name in ["new", "old"] {
            let (program, configuration) = (program.to_str().unwrap(), place.path("fsx.toml"));
            let options = ["-S", "1", "-N", OPERATIONS, "-f", configuration.to_str().unwrap(), name];
            run(&place.mnt(), &[&[program], &options[..]].concat());
        }
        session.close().unwrap();
    }
}
