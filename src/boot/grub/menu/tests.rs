//! grub-script-check (package grub-common) judges every menu.

use super::*;
use crate::boot::grub::quote;
use crate::image::tool::tests::run;

const ROOT: &str = "0a0b0c0d-0000-4000-8000-000000000001";

fn place(path: &str, uuid: &str) -> Place {
    Place {
        uuid: uuid.into(),
        modules: ["part_gpt", "ext2"],
        path: path.into(),
    }
}

fn bootable(version: &str) -> Bootable {
    Bootable {
        version: version.into(),
        linux: place(&format!("/boot/vmlinuz-{version}"), ROOT),
        initrd: place(&format!("/boot/initrd.img-{version}"), ROOT),
    }
}

fn menu<'a>(defaults: &'a Defaults, kernels: &'a [Bootable]) -> Menu<'a> {
    Menu {
        defaults,
        root_uuid: ROOT,
        recovery: "single",
        kernels,
    }
}

/// Returns `text`, which GRUB can read.
fn checked(text: String) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grub.cfg");
    std::fs::write(&path, &text).unwrap();
    run("grub-common", "grub-script-check", &[path.to_str().unwrap()]);
    text
}

#[test]
fn each_kernel_has_an_entry_and_one_for_recovery() {
    let defaults = Defaults {
        distributor: "Debian".into(),
        timeout: "3".into(),
        command_line: "console=ttyS0".into(),
        command_line_default: "quiet".into(),
        ..Defaults::default()
    };
    let text = checked(menu(&defaults, &[bootable("6.12"), bootable("6.1")]).text());
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let starts = |start: &str| -> Vec<&str> { lines.iter().copied().filter(|l| l.starts_with(start)).collect() };
    assert_eq!(
        starts("menuentry"),
        [
            format!("menuentry 'Debian GNU/Linux' --class gnu-linux --id 'gnulinux-simple-{ROOT}' {{"),
            format!(
                "menuentry 'Debian GNU/Linux, with Linux 6.12' --class gnu-linux --id 'gnulinux-6.12-advanced-{ROOT}' {{"
            ),
            format!(
                "menuentry 'Debian GNU/Linux, with Linux 6.12 (recovery mode)' --class gnu-linux --id 'gnulinux-6.12-recovery-{ROOT}' {{"
            ),
            format!(
                "menuentry 'Debian GNU/Linux, with Linux 6.1' --class gnu-linux --id 'gnulinux-6.1-advanced-{ROOT}' {{"
            ),
            format!(
                "menuentry 'Debian GNU/Linux, with Linux 6.1 (recovery mode)' --class gnu-linux --id 'gnulinux-6.1-recovery-{ROOT}' {{"
            ),
        ]
    );
    assert_eq!(
        starts("linux")[..3],
        [
            format!("linux /boot/vmlinuz-6.12 root=UUID={ROOT} ro console=ttyS0 quiet"),
            format!("linux /boot/vmlinuz-6.12 root=UUID={ROOT} ro console=ttyS0 quiet"),
            format!("linux /boot/vmlinuz-6.12 root=UUID={ROOT} ro single console=ttyS0"),
        ]
    );
    assert_eq!(starts("initrd")[4], "initrd /boot/initrd.img-6.1");
    assert_eq!(starts("search").len(), 5);
    let whole = Defaults {
        distributor: "Debian GNU/Linux".into(),
        ..Defaults::default()
    };
    let text_of_whole = menu(&whole, &[bootable("6.1")]).text();
    assert!(text_of_whole.contains("menuentry 'Debian GNU/Linux' "));
    assert!(
        lines.contains(&"set timeout=3") && lines.contains(&"set default=0"),
        "{text}"
    );
}

#[test]
fn a_boot_partition_of_its_own_is_searched() {
    let defaults = Defaults::default();
    let mut kernel = bootable("6.1");
    kernel.initrd = place("/initrd.img-6.1", "ABCD-1234");
    let text = checked(menu(&defaults, &[kernel]).text());
    let entry: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("menuentry")).collect();
    let expected = [
        "  insmod part_gpt",
        "  insmod ext2",
        "  search --no-floppy --fs-uuid --set=root 0a0b0c0d-0000-4000-8000-000000000001",
        "  linux /boot/vmlinuz-6.1 root=UUID=0a0b0c0d-0000-4000-8000-000000000001 ro",
        "  insmod part_gpt",
        "  insmod ext2",
        "  search --no-floppy --fs-uuid --set=root ABCD-1234",
        "  initrd /initrd.img-6.1",
        "}",
    ];
    assert_eq!(entry[1..10], expected);
}

#[test]
fn hostile_names_and_command_lines_stay_words() {
    let hostile = "a=$(reboot);b|c&d>e<f{g}#h}\"x y\" k=\"v;}\" \u{e4} menuentry {";
    let command_line = quote::command_line(&hostile.replace("}\"x y\"", "} \"x y\"")).unwrap();
    let defaults = Defaults {
        distributor: "It's } \"a\" $distribution".into(),
        default: "a' b; reboot".into(),
        timeout: "1; reboot".into(),
        timeout_style: "menu }".into(),
        terminal_output: "serial console; reboot".into(),
        command_line,
        ..Defaults::default()
    };
    let kernels = [bootable("6.1'} $(x) \"y\" {"), bootable("6 1\\")];
    let text = checked(menu(&defaults, &kernels).text());
    assert!(text.contains("set timeout=5\n"), "{text}");
    assert!(text.contains("set default='a'\\'' b; reboot'\n"), "{text}");
    assert!(text.contains("terminal_output serial 'console;' reboot\n"), "{text}");
    assert!(
        text.contains("  linux '/boot/vmlinuz-6.1'\\''} $(x) \"y\" {' root="),
        "{text}"
    );
    // Each line of the file is one command: no quotation mark is left open at its end.
    for line in text.lines() {
        let script = format!("true {}", line.replace(['{', '}', ';', '|', '&', '<', '>', '#'], "x"));
        let output = std::process::Command::new("/bin/sh")
            .args(["-n", "-c", &script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}");
    }
}

#[test]
fn entries_of_the_boot_loader_specification_make_a_menu_too() {
    let defaults = Defaults {
        default: "saved".into(),
        command_line: "quiet".into(),
        without_recovery: true,
        ..Defaults::default()
    };
    let kernels = [bootable("6.1")];
    let menu = menu(&defaults, &kernels);
    let text = checked(menu.of_entries(&place("/boot/loader/entries", ROOT)));
    assert!(text.contains("set default=\"${saved_entry}\""), "{text}");
    assert!(
        text.ends_with("set blsdir=/boot/loader/entries\ninsmod blscfg\nblscfg\n"),
        "{text}"
    );
    assert!(!menu.of_entries(&place("/loader/entries", ROOT)).contains("blsdir"));
    assert_eq!(menu.options(), format!("root=UUID={ROOT} ro quiet"));
    assert!(!menu.text().contains("recovery"));
}
