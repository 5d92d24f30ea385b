#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use super::*;

fn facts(key: Sha256) -> Facts {
    Facts {
        key,
        step: "packages".into(),
        parent: Sha256::of("parent"),
        ground: Sha256::of("parent"),
        packages: vec![Sha256::of("a").into()],
        warnings: vec!["odd".into()],
        secrets: Vec::new(),
    }
}

fn store() -> (tempfile::TempDir, LayerStore, Sha256) {
    let directory = tempfile::tempdir().unwrap();
    let store = LayerStore::new(directory.path().join("layers"));
    (directory, store, Sha256::of("key"))
}

fn fill(draft: &Draft) {
    fs::create_dir_all(draft.tree().join("etc")).unwrap();
    fs::write(draft.tree().join("etc/hostname"), "edge\n").unwrap();
    std::os::unix::fs::symlink("hostname", draft.tree().join("etc/link")).unwrap();
    fs::create_dir_all(draft.work().join("work")).unwrap();
    Times::begin(1_700_000_000).settle(&draft.tree()).unwrap();
}

fn publish(store: &LayerStore, key: Sha256) -> Layer {
    let draft = store.draft().unwrap();
    fill(&draft);
    draft.publish(facts(key), &Cancel::default()).unwrap().unwrap()
}

#[test]
fn what_was_published_is_found() {
    let (_directory, store, key) = store();
    assert!(store.find(key).unwrap().is_none());
    let _lock = store.lock(key, &Cancel::default(), || ()).unwrap();
    let layer = publish(&store, key);
    assert_eq!(layer.manifest.scan.entries, 3);
    assert_eq!(layer.manifest.scan.size_bytes, 5);
    let found = store.find(key).unwrap().unwrap();
    assert_eq!(found.manifest, layer.manifest);
    assert_eq!(fs::read(found.tree().join("etc/hostname")).unwrap(), b"edge\n");
    let mut names: Vec<_> = fs::read_dir(found.directory())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["layer.json", "layer.sums", "tree"]);
    assert_eq!(store.list().unwrap().len(), 1);
    let mode = fs::metadata(&store.directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn what_was_touched_is_not_used() {
    let changes: [fn(&Path); 5] = [
        |tree| {
            // The same size, and the same time of modification.
            let file = fs::File::options().write(true).open(tree.join("etc/hostname")).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(b"E", 0).unwrap();
            file.set_modified(modified).unwrap();
        },
        |tree| fs::remove_file(tree.join("etc/link")).unwrap(),
        |tree| fs::write(tree.join("etc/new"), "").unwrap(),
        |tree| fs::set_permissions(tree.join("etc"), fs::Permissions::from_mode(0o700)).unwrap(),
        |tree| {
            let manifest = tree.with_file_name(MANIFEST);
            let text = fs::read_to_string(&manifest).unwrap().replace("odd", "ood");
            fs::write(&manifest, text).unwrap();
        },
    ];
    for change in changes {
        let (_directory, store, key) = store();
        let layer = publish(&store, key);
        std::thread::sleep(std::time::Duration::from_millis(10)); // ctime has the kernel's coarse clock
        change(&layer.tree());
        assert!(matches!(store.find(key), Err(LayerError::Unusable { .. })));
        assert!(matches!(store.check(key), Err(LayerError::Unusable { .. })));
        let again = publish(&store, key);
        assert_eq!(again.manifest.content, layer.manifest.content);
        assert!(store.find(key).unwrap().is_some());
    }
}

#[test]
fn a_sound_layer_is_not_replaced_under_its_users() {
    let (_directory, store, key) = store();
    let layer = publish(&store, key);
    let draft = store.draft().unwrap();
    fill(&draft);
    let kept = draft.publish(facts(key), &Cancel::default()).unwrap().unwrap_err();
    assert!(kept.tree().join("etc/hostname").exists());
    assert_eq!(store.find(key).unwrap().unwrap().manifest, layer.manifest);
    let tree = kept.tree();
    drop(kept);
    assert!(!tree.exists());
}

#[test]
fn only_abandoned_drafts_are_swept() {
    let (_directory, store, _) = store();
    let used = store.draft().unwrap();
    fill(&used);
    let abandoned = store.directory.join(format!("{TEMPORARY_PREFIX}killed"));
    fs::create_dir_all(abandoned.join("tree/etc")).unwrap();
    fs::write(abandoned.join("lock"), "").unwrap();
    store.sweep().unwrap();
    assert!(!abandoned.exists());
    assert!(used.tree().exists());
}

#[test]
fn content_does_not_depend_on_place_or_time() {
    let (_directory, store, key) = store();
    let first = publish(&store, key);
    let other = publish(&store, Sha256::of("other"));
    assert_eq!(first.manifest.content, other.manifest.content);
    assert_ne!(first.manifest.scan.digest, other.manifest.scan.digest);
    fs::write(other.tree().join("etc/hostname"), "Edge\n").unwrap();
    let (changed, _) = content(&other.tree(), &Cancel::default()).unwrap();
    assert_ne!(changed, first.manifest.content);
}

/// Changes the bytes of `name` in a layer as a disk does: nothing else shows it.
fn rot(layer: &Layer, name: &str) {
    let path = layer.tree().join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    let manifest = Manifest {
        scan: glance(&layer.tree()).unwrap(),
        ..layer.manifest.clone()
    };
    manifest.write(&layer.directory().join(MANIFEST)).unwrap();
}

fn found(store: &LayerStore, key: Sha256) -> Option<Damage> {
    let layer = store.check(key).unwrap();
    damage(&layer.tree(), &layer.manifest, &layer.sums(), &Cancel::default()).unwrap()
}

#[test]
fn what_the_disk_has_changed_is_named() {
    let (_directory, store, key) = store();
    let layer = publish(&store, key);
    assert_eq!(found(&store, key), None);
    rot(&layer, "etc/hostname");
    let damage = found(&store, key).unwrap();
    assert_eq!(damage.names().unwrap(), "etc/hostname");
    let whole = fs::read(layer.sums()).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        fs::write(layer.sums(), damaged).unwrap();
        let damage = found(&store, key).unwrap();
        assert!(
            damage.problem.contains("layer.sums") && damage.files.is_empty(),
            "{damage:?}"
        );
    }
}

#[test]
fn each_bit_of_a_manifest_counts() {
    let (_directory, store, key) = store();
    let path = publish(&store, key).directory().join(MANIFEST);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            fs::write(&path, damaged).unwrap();
            assert!(
                !matches!(Manifest::read(&path), Ok(_) | Err(ManifestError::Older)),
                "byte {at}, bit {bit}"
            );
        }
    }
    assert_eq!(store.entries().unwrap().len(), 1, "it is seen all the same");
    assert_eq!(store.list().unwrap().len(), 0);
    store.remove(&BTreeSet::from([key])).unwrap();
    assert_eq!(store.entries().unwrap().len(), 0);
}

#[test]
fn what_lies_on_a_layer_goes_with_it() {
    let (_directory, store, _) = store();
    let keys = ["a", "b", "c", "d"].map(Sha256::of);
    for (key, parent) in [(0, None), (1, Some(0)), (2, Some(1)), (3, None)] {
        let draft = store.draft().unwrap();
        fill(&draft);
        let facts = Facts {
            parent: parent.map_or(Sha256::of("base"), |parent: usize| keys[parent]),
            ..facts(keys[key])
        };
        draft.publish(facts, &Cancel::default()).unwrap().unwrap();
    }
    store.remove(&BTreeSet::from([keys[0]])).unwrap();
    let left: Vec<_> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|layer| layer.manifest.facts.key)
        .collect();
    assert_eq!(left, [keys[3]]);
}

/// The digest of a layer's content shows every property that an image keeps.
#[test]
fn the_content_has_all_that_an_image_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("d")).unwrap();
    fs::write(path("d/file"), "text").unwrap();
    let digest = || content(directory.path(), &Cancel::default()).unwrap().0;
    let mut seen = vec![digest()];
    let attribute = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(path("d/file"), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    let changes: [&dyn Fn(); 5] = [
        &|| fs::set_permissions(path("d/file"), fs::Permissions::from_mode(0o600)).unwrap(),
        &|| attribute("user.note", b"a"),
        &|| attribute("user.note", b"b"),
        &|| {
            let file = fs::File::options().write(true).open(path("d/file")).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        },
        &|| fs::write(path("d/file"), "TEXT").unwrap(),
    ];
    for change in changes {
        change();
        let now = digest();
        assert!(!seen.contains(&now));
        seen.push(now);
    }
    attribute("user.overlay.origin", b"x");
    assert_eq!(seen.last(), Some(&digest()), "a mark of an overlay");
}
