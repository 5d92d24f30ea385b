//! The overlay through a real mount. Needs root and FUSE.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use proptest::collection::vec;

use super::Server;
use crate::mount::lower::LowerOptions;
use crate::mount::{MountError, Restrictions, fuse, namespace};
use crate::overlay::Overlay;
use crate::overlay::layer::Layer;
use crate::overlay::tests::differential::{Room, assert_same, layers, op, run, runner};
use crate::overlay::tests::target::{Plain, Target as _};

/// Calls `work` with the place where an overlay of `layers` with the upper of `room` is mounted. The
/// mount exists for the calling thread only, and ends with it.
fn mounted<T: Send>(room: &Room, layers: Vec<Arc<dyn Layer>>, work: impl FnOnce(&Path) -> T + Send) -> T {
    let overlay = Overlay::new(layers, Some(&room.upper())).unwrap();
    let at = room.path("mount");
    let serve = || -> Result<T, MountError> {
        let made = fuse::create(Restrictions::BUILD, true)?;
        let server = Server::new(made.device, overlay, false, &LowerOptions::default()).unwrap();
        let serving = thread::spawn(move || server.run());
        let attached = made.mount.attach(&at)?;
        let result = work(&at);
        attached.unmount()?;
        serving.join().unwrap().unwrap();
        Ok(result)
    };
    namespace::with_temporary(serve, Ok).unwrap()
}

#[test]
fn random_operations_have_the_outcomes_of_a_plain_directory() {
    let checked = runner(25).run(&vec(op(), 1..60), |ops| {
        let room = Room::new();
        let expected = mounted(&room, layers(), |at| run(&room, &ops, &mut Plain::new(at), true))?;
        mounted(&room, layers(), |at| assert_same(&expected, &Plain::new(at).view()))
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
