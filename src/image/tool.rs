//! Programs of the host that judge what the image writer makes.

pub(crate) mod tests {
    use std::process::Command;

    /// The directories of programs.
    const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// Runs a program of `package` that must succeed, and returns its stdout and stderr.
    pub fn run(package: &str, program: &str, arguments: &[&str]) -> String {
        let (ok, text) = run_any(package, program, arguments);
        assert!(ok, "{program} {arguments:?}: {text}");
        text
    }

    /// Runs a program of `package` and returns whether it succeeded, with its stdout and stderr.
    pub fn run_any(package: &str, program: &str, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap_or_else(|error| panic!("this test needs {program}: install {package} ({error})"));
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}
