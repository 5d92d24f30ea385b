//! OVA, an archive with a virtual machine for VMware and VirtualBox (DMTF DSP0243, "Open Virtualization Format", version
//! 1.1): a description of the machine, the digests of the files, and the disk as a stream-optimized VMDK file. The
//! description comes first (section 5.3).

use quick_xml::escape::escape;
use sha2::Digest as _;
use tar::Header;

use super::disk::SECTOR_BYTES;
use super::layout::Layout;
use crate::package::Sha256;

/// The machine that the description asks for: its processors, and its memory in MiB.
const PROCESSORS: u32 = 2;
const MEMORY_MIB: u32 = 2048;

/// The content of an OVA file.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// The name of the machine, which the names of the files begin with.
    pub name: &'a str,
    /// The size of the disk in bytes.
    pub disk_bytes: u64,
    /// The size of the VMDK file in bytes, and its digest.
    pub vmdk: (u64, Sha256),
}

/// Returns the name of the disk of the machine `name` in its archive.
pub fn disk_name(name: &str) -> String {
    format!("{name}-disk1.vmdk")
}

/// Makes an archive of `machine`. The pieces of the raw image in it are those of the VMDK file.
pub fn layout(machine: &Machine<'_>) -> Layout {
    let name = machine.name;
    let (vmdk_bytes, vmdk_digest) = machine.vmdk;
    let disk = disk_name(name);
    let description = description(machine);
    let digest = Sha256(sha2::Sha256::digest(&description).into());
    let manifest = format!("SHA256({name}.ovf)= {digest}\nSHA256({disk})= {vmdk_digest}\n");
    let mut layout = Layout::default();
    for (suffix, text) in [(".ovf", description), (".mf", manifest)] {
        append_header(&mut layout, &format!("{name}{suffix}"), text.len() as u64);
        layout.bytes(text.as_bytes());
        layout.align(SECTOR_BYTES);
    }
    append_header(&mut layout, &disk, vmdk_bytes);
    layout.raw(0..vmdk_bytes);
    layout.align(SECTOR_BYTES);
    layout.zeros(2 * SECTOR_BYTES);
    layout
}

/// Appends the header of a file (POSIX.1, pax, "ustar Interchange Format", which section 5.3 asks for). A name of more than
/// 100 bytes is cut.
fn append_header(layout: &mut Layout, name: &str, size_bytes: u64) {
    let mut header = Header::new_ustar();
    let field = &mut header.as_old_mut().name;
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name.as_bytes()[..length]);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size_bytes);
    header.set_cksum();
    layout.bytes(header.as_bytes());
}

/// Describes the machine: an EFI computer with an LSI Logic SCSI controller and a network card, which every hypervisor of
/// VMware since ESXi 5.5 (`vmx-10`) and VirtualBox can give.
fn description(machine: &Machine<'_>) -> String {
    let (name, disk) = (escape(machine.name), disk_name(machine.name));
    let disk = escape(&disk);
    let items = hardware();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href="{disk}" ovf:size="{vmdk_bytes}"/>
  </References>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="{disk_bytes}" ovf:capacityAllocationUnits="byte" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="network"><Description>The network of the machine</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>A virtual machine</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="otherLinux64Guest"><Info>Linux, 64 bits</Info></OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System><vssd:ElementName>Virtual hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>
{items}      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#,
        vmdk_bytes = machine.vmdk.0,
        disk_bytes = machine.disk_bytes,
    )
}

/// Lists the hardware of the machine.
fn hardware() -> String {
    let (processors, memory) = (PROCESSORS.to_string(), MEMORY_MIB.to_string());
    [
        item(
            1,
            "processors",
            &[("ResourceType", "3"), ("VirtualQuantity", &processors)],
        ),
        item(
            2,
            "memory",
            &[
                ("AllocationUnits", "byte * 2^20"),
                ("ResourceType", "4"),
                ("VirtualQuantity", &memory),
            ],
        ),
        item(
            3,
            "SCSI controller",
            &[("ResourceSubType", "lsilogic"), ("ResourceType", "6")],
        ),
        item(
            4,
            "disk",
            &[
                ("AddressOnParent", "0"),
                ("HostResource", "ovf:/disk/vmdisk1"),
                ("Parent", "3"),
                ("ResourceType", "17"),
            ],
        ),
        item(
            5,
            "network card",
            &[
                ("AutomaticAllocation", "true"),
                ("Connection", "network"),
                ("ResourceSubType", "E1000"),
                ("ResourceType", "10"),
            ],
        ),
    ]
    .concat()
}

/// Makes an item of the hardware. Its elements are in the order of the alphabet, as the schema asks.
fn item(id: u32, name: &str, elements: &[(&str, &str)]) -> String {
    let id = id.to_string();
    let mut all = [&[("ElementName", name), ("InstanceID", &id)], elements].concat();
    all.sort_unstable();
    let elements = all
        .iter()
        .map(|(element, value)| format!("<rasd:{element}>{value}</rasd:{element}>"));
    format!("      <Item>{}</Item>\n", elements.collect::<String>())
}
