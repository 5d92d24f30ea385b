//! Extended attributes by their names (xattr(7)): which ones belong to an image, and which ones a file system makes up.

/// The attributes that belong to an image, by name. SELinux labels are not among them: those of a tree are the build
/// host's, and an image gets its own from its policy.
const OF_IMAGE: [&[u8]; 3] = [
    b"security.capability",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
];
/// The prefix of attributes that users set.
const OF_USERS: &[u8] = b"user.";
/// The prefix of attributes of an overlay that is mounted with `userxattr`.
const OF_OVERLAY: &[u8] = b"user.overlay.";
/// Prefixes of attributes that file systems show of themselves: ACLs in forms of their own (XFS, NFS), and properties
/// of the store (btrfs, Ceph, Gluster).
const OF_FILE_SYSTEMS: [&[u8]; 8] = [
    b"trusted.SGI_",
    b"trusted.glusterfs.",
    b"trusted.gfid",
    b"system.nfs4_",
    b"system.cifs_",
    b"system.richacl",
    b"btrfs.",
    b"ceph.",
];

/// Says whether an attribute of this name belongs to an image, whatever file system the tree lies on meanwhile.
pub fn is_of_image(name: &[u8]) -> bool {
    OF_IMAGE.contains(&name) || (name.starts_with(OF_USERS) && !name.starts_with(OF_OVERLAY))
}

/// Says whether a file system makes up the attribute of this name, so that it means nothing on another one.
pub fn is_of_file_system(name: &[u8]) -> bool {
    OF_FILE_SYSTEMS.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_attributes_of_its_own_only() {
        for (name, of_image, of_file_system) in [
            ("security.capability", true, false),
            ("system.posix_acl_access", true, false),
            ("system.posix_acl_default", true, false),
            ("user.note", true, false),
            ("user.overlay.opaque", false, false),
            ("security.selinux", false, false),
            ("security.ima", false, false),
            ("security.capability2", false, false),
            ("trusted.overlay.origin", false, false),
            ("trusted.note", false, false),
            ("trusted.SGI_ACL_FILE", false, true),
            ("trusted.SGI_ACL_DEFAULT", false, true),
            ("system.nfs4_acl", false, true),
            ("btrfs.compression", false, true),
        ] {
            assert_eq!(is_of_image(name.as_bytes()), of_image, "{name}");
            assert_eq!(is_of_file_system(name.as_bytes()), of_file_system, "{name}");
        }
    }
}
