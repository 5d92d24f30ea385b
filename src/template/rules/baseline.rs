//! Images that are built on a finished image.

use crate::model::{BaselineMode, ImageType, PackageOperation};
use crate::template::schema::{WITHOUT_EFFECT, baseline, overlay_policy, source, system, target, template};
use crate::yaml::schema::Field;
use crate::yaml::{Findings, Node, Place};

/// Sections that have no place in a template of this mode, in the order in which they are named.
const CREATE_ONLY: [Field; 7] = [
    system::HOSTNAME.untyped(),
    system::NETWORK.untyped(),
    system::INITRAMFS.untyped(),
    system::KERNEL.untyped(),
    system::IMMUTABILITY.untyped(),
    system::FDE.untyped(),
    system::BOOTLOADER.untyped(),
];

/// Returns whether a template builds on a finished image.
pub(in crate::template) fn is_overlay(root: &Node) -> bool {
    let baseline = root.read(template::BASELINE);
    baseline.and_then(|baseline| baseline.read(baseline::MODE)) == Some(BaselineMode::Overlay)
}

/// Checks that `baseline` names one image if, and only if, the mode needs one.
pub(super) fn check(root: &Place<'_>, findings: &mut Findings) {
    let Some(section) = root.get(template::BASELINE) else {
        return;
    };
    let source = section.get(baseline::SOURCE);
    match (is_overlay(root.node), source) {
        (true, None) => {
            let finding = section
                .at(baseline::SOURCE)
                .error("is missing: mode overlay builds on an image");
            findings.push(finding.hint("give it source: {path: IMAGE} or source: {url: URL}"));
        }
        (false, Some(source)) => {
            let finding = source.error("has no meaning with mode create");
            findings.push(finding.hint("say mode: overlay to build on this image"));
        }
        (true, Some(source)) if source.get(source::PATH).is_some() == source.get(source::URL).is_some() => {
            findings.push(source.error("has to have one of path and url"));
        }
        _ => {}
    }
}

/// Checks what the templates of a chain say together: the policy belongs to the mode, and so does not what the finished
/// image decides.
pub(in crate::template) fn check_folded(root: &Node, findings: &mut Findings) {
    let place = Place::root(root);
    if let Some(policy) = place.get(template::OVERLAY_POLICY) {
        match is_overlay(root) {
            true => check_policy(&policy, findings),
            false => {
                let finding = policy.error("has no meaning without baseline.mode: overlay");
                findings.push(finding.hint("remove it, or name the image to build on in baseline"));
            }
        }
    }
    if !is_overlay(root) {
        return;
    }
    if let Some(system) = place.get(template::SYSTEM) {
        for section in CREATE_ONLY.iter().filter_map(|field| system.get(*field)) {
            findings.push(
                section.error("cannot be set with baseline.mode: overlay: the image that is built on decides it"),
            );
        }
    }
    let image_type = place
        .get(template::TARGET)
        .and_then(|target| target.get(target::IMAGE_TYPE));
    if let Some(image_type) =
        image_type.filter(|place| place.node.text() != Some(crate::words::Words::word(ImageType::Raw)))
    {
        findings.push(image_type.error("has to be raw with baseline.mode: overlay"));
    }
}

/// Checks the rules between fields of `overlayPolicy`.
fn check_policy(policy: &Place<'_>, findings: &mut Findings) {
    let may_upgrade = policy.read(overlay_policy::PACKAGE_OPERATION) == Some(PackageOperation::AddAndUpgrade);
    let removal = policy
        .get(overlay_policy::ALLOW_PACKAGE_REMOVAL)
        .filter(|removal| removal.node.bool() == Some(true));
    let kernel = policy.get(overlay_policy::REPLACE_KERNEL);
    for needs in removal.iter().chain(&kernel).filter(|_| !may_upgrade) {
        let finding = needs.error("needs packageOperation: additive-and-upgrade");
        findings.push(finding.hint("add that line to overlayPolicy"));
    }
    for field in kernel
        .iter()
        .flat_map(|kernel| WITHOUT_EFFECT.map(|field| kernel.get(field)))
        .flatten()
    {
        findings.push(field.warning("has no effect: this version reads past it"));
    }
}
