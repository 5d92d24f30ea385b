//! What the tests here share and what needs types of oic; the rest is in `oic_testkit`.

pub mod bills;
pub mod boot_disk;
pub mod debian;
pub mod disk_image;
pub mod escapes;
pub mod image;
pub mod json_schema;
pub mod mirror;
pub mod program;
pub mod rpm_fixture;
pub mod scale;
pub mod store;
pub mod templates;
pub mod terminal;
pub mod tiny;
pub mod tree;
