from alembic import context

from mxqueue.migrate import run
from mxqueue.schema import metadata

run(context, metadata)  # type: ignore[arg-type]  # alembic's proxy module stands for the EnvironmentContext
