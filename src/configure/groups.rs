//! Groups, made by the image's own tools.

use super::{ConfigureError, Context};
use crate::accounts;
use crate::model::Group;

/// Makes the template's groups. One that a package made stays as it is.
pub(super) fn create(context: &Context<'_>) -> Result<(), ConfigureError> {
    for group in &context.request.template.system.groups {
        match gid(context, &group.name)? {
            None => add(context, group)?,
            Some(found) => check(group, found)?,
        }
    }
    Ok(())
}

/// Returns the id of a group of the image; `None` if there is no such group.
pub(super) fn gid(context: &Context<'_>, name: &str) -> Result<Option<u32>, ConfigureError> {
    let text = context.root.read(accounts::GROUP)?.unwrap_or_default();
    let found = accounts::groups(&text).find(|group| group.name == name.as_bytes());
    Ok(found.map(|group| group.gid))
}

fn add(context: &Context<'_>, group: &Group) -> Result<(), ConfigureError> {
    let mut argv = vec!["groupadd".to_owned()];
    if group.system {
        argv.push("--system".to_owned());
    }
    if let Some(gid) = group.gid {
        argv.extend(["--gid".to_owned(), gid.to_string()]);
    }
    argv.extend(["--".to_owned(), group.name.clone()]);
    context.tool(argv).map_err(ConfigureError::group(&group.name))
}

/// Refuses another id than the one that the group has: files of packages may belong to it.
fn check(group: &Group, found: u32) -> Result<(), ConfigureError> {
    match group.gid.filter(|wanted| *wanted != found) {
        None => Ok(()),
        Some(wanted) => Err(ConfigureError::TakenId {
            kind: "group",
            name: group.name.clone(),
            wanted,
            found,
        }),
    }
}
