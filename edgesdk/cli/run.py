"""``edgesdk run``: a model on an input, on this device or in the cloud."""

# ruff: noqa: PLC0415 - running brings numpy and the core, which --help does not need
from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from edgesdk.cli.exits import Misuse
from edgesdk.cli.options import (
    FILE,
    KEY,
    PATH,
    Choice,
    Integer,
    Number,
    command,
    compute_options,
    device_options,
    home_hint,
    home_option,
    output_option,
)
from edgesdk.cli.streams import PIPE, Target, as_input_error, read
from edgesdk.files import Home
from edgesdk.limits import PUBLISHER
from edgesdk.policy import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edgesdk.cli.output import Output
    from edgesdk.cli.tensors import Frame
    from edgesdk.contract import Contract
    from edgesdk.model import Model
    from edgesdk.session import Result

_MODES = [mode.value for mode in Mode]
# What only the device's own way, or only the way to the cloud, has a use for.
_LOCAL = ("trust", "device_key", "grant", "threads", "isa")
_CLOUD = ("mode", "threshold", "cloud_model")


@command(
    "run",
    examples=[
        "edgesdk run digits.emb digits.npy",
        "edgesdk run digits.tflite --random --json",
        (
            "edgesdk run digits.emb digits.npy --cloud mqtts://gateway.example \\\n"
            "    --mode prefer_in_cloud"
        ),
    ],
)
@click.argument("model", type=PATH)
@click.argument("frames", type=FILE, metavar="[INPUT]", required=False)
@click.option("--random", is_flag=True, help="Run it on random numbers in place of INPUT.")
@click.option("--seed", type=Integer(0), default=0, metavar="N", help="Of the random numbers.")
@output_option("Raw outputs as .npz, by name.")
@home_option
@click.option("--trust", type=PATH, metavar="FILE", help="Whom to trust.  [trust.json of --home]")
@click.option("--device-key", type=KEY, metavar="URI", help="[device.key of --home]")
@click.option("--grant", type=PATH, metavar="FILE", help="[where a device looks]")
@device_options
@compute_options
@click.option("--cloud", metavar="URL", help="The broker, mqtts://[user[:password]@]host[:port].")
@click.option(
    "--mode",
    type=Choice(_MODES),
    metavar="MODE",
    help=f"Who answers: {', '.join(_MODES)}.  [prefer_on_device]",
)
@click.option(
    "--deadline",
    type=Number(positive=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="For each answer.",
)
@click.option(
    "--threshold",
    type=Number(),
    metavar="X",
    help="Ask the cloud when the largest output is below.",
)
@click.option("--cloud-model", metavar="ID", help="What the cloud calls it.  [as the bundle does]")
@click.option("--pool", default="default", show_default=True, metavar="NAME", help="Of gateways.")
def run(
    out: Output,
    *,
    model: str,
    frames: str | None,
    random: bool,
    seed: int,
    output: str | None,
    cloud: str | None,
    **options: Any,  # noqa: ANN401 - the options above
) -> None:
    """Run a model on an input.

    MODEL is a bundle, or a .tflite file, which is run as it is. INPUT is an .npy
    file, or an .npz file with the inputs by name, or - for standard input: of the
    model's own type, or floats, which are quantized as the contract says. It holds
    one frame, or several along a leading dimension more.

    With --cloud the cloud may answer too. Then everything that the device needs is
    in its configuration folder, with the gateway's record as gateway.pub.
    """
    from edgesdk.cli.results import archive, tell

    if random == (frames is not None):
        raise Misuse("expected INPUT or --random, got " + ("both" if random else "neither"))
    _check_usage(model, cloud, options)
    target = None if output is None else Target.new(out, output, what="the outputs")
    with (
        home_hint(Home.find(options["home"])),
        _answering(model, cloud, options) as (contract, answer),
    ):
        results = _answers(out, _frames(frames, contract, seed=seed), answer)
    tell(out, model, contract, results)
    if target is not None:
        target.write(archive(contract, results))
        out.document["output"] = target.path


def _check_usage(model: str, cloud: str | None, options: Mapping[str, object]) -> None:
    """Options that would be without effect are refused."""
    given = [
        "--" + name.replace("_", "-")
        for name in (_LOCAL if cloud else _CLOUD)
        if options[name] is not None
    ]
    if given and not cloud:
        raise Misuse(f"expected {given[0]} together with --cloud, got it without")
    if given:
        raise Misuse(
            f"expected no {given[0]} together with --cloud, got both",
            hint="with --cloud everything is in the configuration folder, --home",
        )
    if cloud and not (is_bundle(model) or options["cloud_model"]):
        raise Misuse("expected --cloud-model for a plain model, which has no id, got none")


def is_bundle(path: str) -> bool:
    """By its name: what is inside, the loader sees."""
    return not path.endswith(".tflite")


def load(path: str, **options: Any) -> Model:  # noqa: ANN401 - those of the library's `load`
    """A bundle as a device loads it, or a plain model."""
    from edgesdk import model

    if is_bundle(path):
        return model.load(path, **options)
    return model.load_unprotected(path, num_threads=options["num_threads"], isa=options["isa"])


# ---- who answers


@contextmanager
def _answering(
    path: str, cloud: str | None, options: Mapping[str, Any]
) -> Iterator[tuple[Contract, Callable[[Frame], Result]]]:
    """What answers a frame, and what it takes."""
    from edgesdk.trust import Device

    device = Device(vendor_id=options["vendor_id"], class_id=options["class_id"])
    if cloud is None:
        with load(
            path,
            home=options["home"],
            trust_file=options["trust"],
            device_key=options["device_key"],
            grant=options["grant"],
            device=device,
            num_threads=options["threads"],
            isa=options["isa"],
        ) as model:
            yield model.contract, _on_device(model)
        return
    from edgesdk.session import Session

    with ExitStack() as stack:
        source: Any = path
        if not is_bundle(path):
            source = stack.enter_context(load(path, num_threads=None, isa=None))
        session = Session(
            source,
            cloud=cloud,
            mode=options["mode"] or Mode.PREFER_ON_DEVICE,
            deadline=options["deadline"],
            threshold=options["threshold"],
            cloud_model=options["cloud_model"],
            pool=options["pool"],
            home=options["home"],
            device=device,
        )
        yield session.contract, stack.enter_context(session).run


def _on_device(model: Model) -> Callable[[Frame], Result]:
    from edgesdk.session import Origin, Result

    def answer(frame: Frame) -> Result:
        begun = time.perf_counter()
        outputs = model.run(frame)
        return Result(
            outputs=outputs,
            origin=Origin.DEVICE,
            model=model.model_id,
            latency=time.perf_counter() - begun,
            version=model.version,
        )

    return answer


def _frames(path: str | None, contract: Contract, *, seed: int) -> list[Frame]:
    import numpy as np

    from edgesdk.cli import tensors

    if path is None:
        return [tensors.random_frame(contract, np.random.default_rng(seed))]
    data = read(
        path, limit=PUBLISHER.array_bytes, what="an array", error=as_input_error, follow=True
    )
    where = "standard input" if path == PIPE else path
    return tensors.read_frames(data, contract, where=where)


def _answers(
    out: Output, frames: Sequence[Frame], answer: Callable[[Frame], Result]
) -> list[Result]:
    results = []
    with out.progress("running", len(frames)) as advance:
        for frame in frames:
            results.append(answer(frame))
            advance(1)
    return results
