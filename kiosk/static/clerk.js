// The clerk's page: the counter and what belongs to it.
import { begin } from "./counter.js";
import "./lost.js";
import "./renew.js";
import "./inquire.js";
import "./till.js";
import "./settlement.js";
import "./people.js";
import "./arrows.js";

begin();
