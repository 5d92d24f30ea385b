//! The machine's language.

use super::super::{ConfigureError, Context};
use super::is_debian;
use crate::model::machine::{DEBIAN_LOCALE, LOCALE};

/// The program of Debian that makes locales, its list of those to make, and that of all that it can make (locale-gen(8)).
const GENERATOR: &str = "/usr/sbin/locale-gen";
const GENERATED: &str = "/etc/locale.gen";
const SUPPORTED: &str = "/usr/share/i18n/SUPPORTED";
/// The directory of locales that are made, and the file that may hold several.
const MADE: &str = "/usr/lib/locale";
const ARCHIVE: &str = "/usr/lib/locale/locale-archive";
/// Locales of the C library itself.
const BUILT_IN: [&str; 4] = ["C", "POSIX", "C.UTF-8", "C.utf8"];

/// Sets `systemConfig.locale`, and makes the locale if the image can.
pub(super) fn set(context: &Context<'_>) -> Result<(), ConfigureError> {
    let Some(locale) = &context.request.template.system.machine.locale else {
        return Ok(());
    };
    if !BUILT_IN.contains(&locale.as_str()) {
        make(context, locale)?;
    }
    // Some releases of Debian have a link to the file of systemd.
    let is_link = context.root.read_link(DEBIAN_LOCALE)?.is_some();
    let place = match is_debian(context)? && !is_link {
        true => DEBIAN_LOCALE,
        false => LOCALE,
    };
    Ok(context.provide(place, format!("LANG={locale}\n"), 0o644)?)
}

/// Makes a locale, unless it is there.
fn make(context: &Context<'_>, locale: &str) -> Result<(), ConfigureError> {
    let root = &context.root;
    let made = root.names(MADE)?;
    if made.iter().any(|name| *name == *directory(locale)) {
        return Ok(());
    }
    if !root.exists(GENERATOR)? {
        if !root.exists(ARCHIVE)? {
            context.work.progress.note(&format!(
                "systemConfig.locale: the image has no locale {locale}: add the package that has it (locales on \
                 Debian and its relatives, glibc-langpack-… on others)"
            ));
        }
        return Ok(());
    }
    let supported = root.read(SUPPORTED)?.unwrap_or_default();
    let Some(line) = line_of(&String::from_utf8_lossy(&supported), locale) else {
        return Err(ConfigureError::Setting {
            field: "locale",
            value: locale.to_owned(),
            reason: format!("it is not in {SUPPORTED} of the image"),
            hint: "take one of the names there, such as de_DE.UTF-8",
        });
    };
    let listed = root.read(GENERATED)?.unwrap_or_default();
    let mut listed = String::from_utf8_lossy(&listed).into_owned();
    if !listed.lines().any(|known| known.trim() == line) {
        if !listed.is_empty() && !listed.ends_with('\n') {
            listed.push('\n');
        }
        listed += &format!("{line}\n");
        context.provide(GENERATED, listed, 0o644)?;
    }
    Ok(context.tool([GENERATOR])?)
}

/// Gives the line of the list `supported` that is about `locale`: its name, and its character set.
fn line_of(supported: &str, locale: &str) -> Option<String> {
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let mut lines = supported.lines().map(words);
    lines
        .find(|words| words.first().is_some_and(|name| name == locale))
        .map(|words| words.join(" "))
}

/// Gives the name of the directory of a locale: the character set in lower case, without signs (localedef(1)).
fn directory(locale: &str) -> String {
    let (rest, modifier) = match locale.split_once('@') {
        Some((rest, modifier)) => (rest, format!("@{modifier}")),
        None => (locale, String::new()),
    };
    match rest.split_once('.') {
        Some((language, charset)) => {
            let charset: String = charset.chars().filter(char::is_ascii_alphanumeric).collect();
            format!("{language}.{}{modifier}", charset.to_ascii_lowercase())
        }
        None => locale.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_locales_lead_to_their_lines_and_directories() {
        let supported = "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\nde_DE@euro ISO-8859-15\n";
        assert_eq!(line_of(supported, "de_DE").as_deref(), Some("de_DE ISO-8859-1"));
        assert_eq!(line_of(supported, "de_DE.UTF-8").as_deref(), Some("de_DE.UTF-8 UTF-8"));
        assert_eq!(line_of(supported, "xx_YY"), None);
        for (locale, expected) in [
            ("de_DE.UTF-8", "de_DE.utf8"),
            ("de_DE.ISO-8859-15@euro", "de_DE.iso885915@euro"),
            ("de_DE@euro", "de_DE@euro"),
        ] {
            assert_eq!(directory(locale), expected);
        }
    }
}
