"""``python -m bundler.demo [MODEL.gguf]``: play the story, or say what failed."""

import sys
import tempfile
from pathlib import Path

from bundler.demo.stage import Stage, StepFailedError
from bundler.demo.story import play


def main() -> int:
    """Play the story and return the exit status: 0 when every step went as told."""
    arguments = sys.argv[1:]
    if len(arguments) > 1 or (arguments and not Path(arguments[0]).is_file()):
        print("usage: python -m bundler.demo [MODEL.gguf]", file=sys.stderr)
        return 2
    model = Path(arguments[0]).resolve() if arguments else None
    stage = Stage(Path(tempfile.mkdtemp(prefix="sallyport-demo-")))
    try:
        play(stage, model=model)
    except StepFailedError as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        print(f"Everything it made is in {stage.folder}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    finally:
        stage.stop_server()
    return 0


if __name__ == "__main__":
    sys.exit(main())
