//! An https server of openssl, with a certificate authority made for the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::soon;

/// Runs openssl, which must succeed.
fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("this test needs the package openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority in a directory: its certificate is `ca.pem` there.
pub struct Authority {
    directory: PathBuf,
}

impl Authority {
    /// Makes its key and certificate in `directory`.
    pub fn new(directory: &Path) -> Self {
        let ca = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch -days 2 -subj /CN=ca -keyout ca.key -out ca.pem";
        openssl(directory, &ca.split(' ').collect::<Vec<_>>());
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Signs a certificate `{name}.pem` for 127.0.0.1, for the use `usage`, `serverAuth` or `clientAuth`; its key is
    /// `{name}.key`.
    pub fn sign(&self, name: &str, usage: &str) {
        let extensions =
            format!("subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage={usage}\n");
        fs::write(self.directory.join(format!("{name}.ext")), extensions).unwrap();
        let request = format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch -subj /CN={name} -keyout {name}.key -out {name}.csr"
        );
        openssl(&self.directory, &request.split(' ').collect::<Vec<_>>());
        let sign =
            format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days 2 -extfile {name}.ext -out {name}.pem");
        openssl(&self.directory, &sign.split(' ').collect::<Vec<_>>());
    }

    /// Returns the path of a file of the authority.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A server for the files of a directory, which hold whole HTTP answers; ended when dropped.
pub struct TlsServer {
    child: Child,
    port: u16,
}

impl TlsServer {
    /// Starts it in the directory of `authority`, with a certificate of it. With `demands`, clients need one, too.
    pub fn start(authority: &Authority, demands: bool) -> Self {
        authority.sign("server", "serverAuth");
        let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = listener.unwrap().port();
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-quiet",
            "-HTTP",
            "-cert",
            "server.pem",
            "-key",
            "server.key",
        ]);
        command.args(["-accept", &format!("127.0.0.1:{port}")]);
        if demands {
            command.args(["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"]);
        }
        let child = command
            .current_dir(&authority.directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let listens = soon(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(listens, "openssl s_server does not listen");
        Self { child, port }
    }

    /// Returns the URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the whole HTTP answer with `content`.
pub fn answer(content: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}
