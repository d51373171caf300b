"""Every verb: the module that has it, one line of help, and the group it is listed in. Loads nothing."""

from __future__ import annotations

DAILY, TRAFFIC, IMAGES, DAEMON, SPEC, OTHER = "Deployments", "Traffic", "Images", "Daemon", "Spec files", "Other"

VERBS: dict[str, tuple[str, str, str]] = {
    "up": ("up", "Start or update a deployment and follow its logs", DAILY),
    "deploy": ("deploy", "Start or update a deployment and wait until it is stable", DAILY),
    "down": ("down", "Remove a deployment and wait until it is gone", DAILY),
    "ps": ("ps", "List deployments and services, or containers with -c", DAILY),
    "plan": ("plan", "Show what an up would do, and why", DAILY),
    "history": ("history", "List the revisions of a deployment", DAILY),
    "rollback": ("rollback", "Go back to an earlier revision", DAILY),
    "pause": ("steer", "Hold the update under way", DAILY),
    "resume": ("steer", "Go on with a held update, or a canary's next step", DAILY),
    "abort": ("steer", "Go back from an update now", DAILY),
    "why": ("why", "Say what a service waits for", DAILY),
    "logs": ("logs", "Show or follow what containers wrote", DAILY),
    "exec": ("exec", "Run a command in a running container", DAILY),
    "scale": ("scale", "Change how many replicas a service has", DAILY),
    "stop": ("stop", "Stop a deployment or a service, and keep it", DAILY),
    "run": ("run", "Run one container to its end", DAILY),
    "rm": ("rm", "End and remove one-off containers", DAILY),
    "events": ("events", "Show what happened, or follow it", DAILY),
    "pull": ("pull", "Pull an image", IMAGES),
    "push": ("push", "Push an image to a registry", IMAGES),
    "export": ("export", "Write images into one archive", IMAGES),
    "import": ("import_", "Take in images from an archive", IMAGES),
    "tag": ("tag", "Give a local image another name", IMAGES),
    "login": ("login", "Log the daemon in to a registry, or list its logins", IMAGES),
    "logout": ("login", "Forget a login", IMAGES),
    "system": ("system", "Show what images take on disk, or give it back", IMAGES),
    "image": ("image", "List, inspect, check or remove images", IMAGES),
    "registry": ("registry", "Serve a registry of your own, and look after it", IMAGES),
    "proxy": ("proxy", "List the proxy's routes, or its backends with counters", TRAFFIC),
    "cert": ("cert", "List, show or renew certificates of https endpoints", TRAFFIC),
    "validate": ("validate", "Check a spec and list every fault", SPEC),
    "spec": ("spec", "Show the normalised form of a spec, or its JSON Schema", SPEC),
    "status": ("status", "Show how the daemon is", DAEMON),
    "daemon": ("daemon", "Start, stop or restart the daemon, or read its log", DAEMON),
    "serve": ("serve", "Be the daemon", DAEMON),
    "runtimes": ("runtimes", "List what can run containers here", DAEMON),
    "token": ("tokens", "Create or read bearer tokens for the TCP API", DAEMON),
    "doctor": ("doctor", "Check this machine, with a fix for each finding", OTHER),
    "completions": ("completions", "Print shell completions", OTHER),
    "version": ("version", "Print the version", OTHER),
}

HIDDEN = {"__complete": ("complete", "", "")}


def find(name: str) -> str | None:
    """The module of a verb, or None."""
    entry = VERBS.get(name) or HIDDEN.get(name)
    return entry[0] if entry else None
