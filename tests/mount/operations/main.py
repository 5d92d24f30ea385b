"""Making the directories and calling the operations."""

def each(work):
    here = os.getcwd()
    for name in CASES:
        work(name)
        os.chdir(here)


def make(name):
    os.mkdir(name)
    os.chdir(name)
    os.chmod(".", 0o755)
    standard()
    CASES[name][1]()


def run(name):
    os.chdir(name)
    here = os.getcwd()
    seen = outcome(CASES[name][0])
    os.chdir(here)
    try:
        after = tree()
    except OSError as error:
        after = {f"not readable: {error}"}
    UNTOUCHED.update(after if name == "nothing" else ())
    words = sorted(f"-{entry}" for entry in UNTOUCHED - after) + sorted(f"+{entry}" for entry in after - UNTOUCHED)
    print(f"{name}: {seen}; {'; '.join(words)}".replace("\n", "\\n"))


# The directory of the first case, which changes nothing.
UNTOUCHED = set()
os.umask(0)
if sys.argv[1] == "make":
    # A base in which nothing has an attribute does not support them.
    open("attributed", "w").close()
    os.setxattr("attributed", "user.a", b"value")
os.umask(0o22)
each({"make": make, "call": run}[sys.argv[1]])
